using System.CommandLine;
using System.Globalization;
using System.Net;
using AgileQuant.Host.Node;

namespace AgileQuant.Host.Cli;

/// <summary>The options of every command that starts a node; each also has an environment variable.</summary>
internal sealed class NodeOptions
{
    private readonly Option<string?> _database = new("--database")
    {
        Description = "Npgsql connection string; without it BENCH_DATABASE, else a private Postgres in BENCH_HOME. Passwords belong into BENCH_DATABASE.",
    };

    private readonly Option<string?> _name = new("--node-name") { Description = "Name of this node; the machine's name by default." };

    private readonly Option<double?> _lease = new("--lease")
    {
        Description = "Seconds after which other nodes take the boards of a node that is silent (2 to 600; default 15; BENCH_LEASE).",
    };

    private readonly Option<string?> _listen = new("--listen")
    {
        Description = "IP address, and port if you like, where other nodes reach this one (BENCH_LISTEN). "
            + "By default loopback when the database is on this machine, else the address that leads to it.",
    };

    private readonly Option<string?> _transport = new("--transport")
    {
        Description = $"How boards are reached: {string.Join(" or ", Transports.BuiltIn.Select(t => t.Key))} ({Transports.Variable}; default {Transports.BuiltIn[0].Key}).",
    };

    private readonly Option<string?> _cluster = new("--cluster")
    {
        Description = $"How nodes share the boards: {string.Join(" or ", Clusters.BuiltIn.Select(c => c.Key))} ({Clusters.Variable}; default {Clusters.BuiltIn[0].Key}).",
    };

    public void AddTo(Command command)
    {
        command.Add(_database);
        command.Add(_name);
        command.Add(_lease);
        command.Add(_listen);
        command.Add(_transport);
        command.Add(_cluster);
    }

    /// <exception cref="Client.BenchException">A value cannot be meant; the message says what to write.</exception>
    public NodeSettings Read(ParseResult parse, BenchHome home, bool dashboard, int port) =>
        new(home, dashboard, port, parse.GetValue(_database) ?? Variable(NodeSettings.DatabaseVariable), parse.GetValue(_name) ?? Environment.MachineName)
        {
            Lease = ReadLease(parse.GetValue(_lease)),
            Listen = ReadListen(parse.GetValue(_listen) ?? Variable(NodeSettings.ListenVariable)),
            Transport = Transports.Choose(parse.GetValue(_transport)).Key,
            Cluster = Clusters.Choose(parse.GetValue(_cluster)).Key,
        };

    /// <summary>What the environment and the defaults say, for commands that start the local node by themselves.</summary>
    public static NodeSettings Defaults(BenchHome home, bool dashboard, int port) =>
        new(home, dashboard, port, Variable(NodeSettings.DatabaseVariable), Environment.MachineName)
        {
            Lease = ReadLease(null),
            Listen = ReadListen(Variable(NodeSettings.ListenVariable)),
            Transport = Transports.Choose(null).Key,
            Cluster = Clusters.Choose(null).Key,
        };

    private static TimeSpan ReadLease(double? given)
    {
        if (given is null && Variable(NodeSettings.LeaseVariable) is { } text)
        {
            given = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                ? number
                : throw new Client.BenchException($"{NodeSettings.LeaseVariable}={text} is no number of seconds; for example {NodeSettings.LeaseVariable}=15");
        }

        var (least, most) = NodeSettings.LeaseBounds;
        return given switch
        {
            null => NodeSettings.DefaultLease,
            >= 0 and var seconds when seconds >= least.TotalSeconds && seconds <= most.TotalSeconds => TimeSpan.FromSeconds(seconds),
            _ => throw new Client.BenchException($"the lease must be from {least.TotalSeconds} to {most.TotalSeconds} seconds, not {given}"),
        };
    }

    private static IPEndPoint? ReadListen(string? text)
    {
        if (text is null)
            return null;
        var parsed = IPEndPoint.TryParse(text, out var endPoint);
        if (!parsed || endPoint!.Address.Equals(IPAddress.Any) || endPoint.Address.Equals(IPAddress.IPv6Any))
        {
            throw new Client.BenchException(
                $"--listen {text}: write the address by which other nodes reach this machine, for example 10.0.0.5, 10.0.0.5:7700 or [fd00::5]:7700");
        }

        return endPoint;
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } given ? given : null;
}
