using System.Net.Sockets;
using System.Text.Json;
using AgileQuant.Host.Client;
using AgileQuant.Infra.Postgres;
using AgileQuant.Orchestrator.Contracts;
using Npgsql;

namespace AgileQuant.Host.Cli;

/// <summary>Words for the errors that the world outside causes; pure.</summary>
internal static class CliErrors
{
    /// <summary>What went wrong and what to do, in words; null for a defect of ours, whose stack trace is wanted.</summary>
    public static string? Explain(Exception error) => error switch
    {
        BenchException or UserErrorException or EmbeddedPostgresException => error.Message,
        PostgresException e => $"the database refused: {e.MessageText} (SQLSTATE {e.SqlState}); check BENCH_DATABASE and the rights of its user",
        NpgsqlException e => $"the database does not answer: {e.Message}; check BENCH_DATABASE, or that the local node runs (`bench status`)",
        HttpRequestException e => $"the local node does not answer ({e.Message}); `bench status` shows its state, `bench up` starts it",
        OperationCanceledException or TimeoutException => "it took too long and was given up; `bench status` shows the node's state and its log",
        JsonException => "the local node's answer is not understood, so it is of another version: `bench down`, then `bench up`",
        UnauthorizedAccessException e => $"{e.Message} Give your user the right to it, or set BENCH_HOME to a folder of your own",
        FileNotFoundException or DirectoryNotFoundException => $"{error.Message} Check the path",
        IOException e => $"reading or writing failed: {e.Message} Check the path and the free space of its disk",
        SocketException e => $"the network failed: {e.Message}; check the address",
        _ => null,
    };
}
