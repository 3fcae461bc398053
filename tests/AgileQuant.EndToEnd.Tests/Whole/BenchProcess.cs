using System.Diagnostics;
using AgileQuant.Host;
using AgileQuant.Host.Cli;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>What a command left.</summary>
internal sealed record CommandOutcome(int ExitCode, string Output, string Error);

/// <summary>Runs the built program as a process of its own, as a user would, with its own home.</summary>
internal sealed class BenchProcess(BenchHome home)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    /// <summary>Runs a command to its end.</summary>
    public async Task<CommandOutcome> RunAsync(params IEnumerable<string> arguments)
    {
        using var process = Process.Start(StartInfo(arguments, redirect: true))!;
        using var limit = new CancellationTokenSource(Limit);
        var output = process.StandardOutput.ReadToEndAsync(limit.Token);
        var error = process.StandardError.ReadToEndAsync(limit.Token);
        try
        {
            await process.WaitForExitAsync(limit.Token);
            return new CommandOutcome(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException e)
        {
            process.Kill();
            throw new TimeoutException($"bench {string.Join(' ', arguments)} did not end within {Limit.TotalMinutes} minutes", e);
        }
    }

    /// <summary>Runs a command that must succeed; returns its standard output.</summary>
    public async Task<string> MustRunAsync(params IEnumerable<string> arguments)
    {
        var outcome = await RunAsync(arguments);
        return outcome.ExitCode == 0 ? outcome.Output
            : throw new InvalidOperationException($"bench {string.Join(' ', arguments)} ended with {outcome.ExitCode}: {outcome.Error}{outcome.Output}");
    }

    private ProcessStartInfo StartInfo(IEnumerable<string> arguments, bool redirect)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            RedirectStandardOutput = redirect,
            RedirectStandardError = redirect,
            RedirectStandardInput = redirect,
            UseShellExecute = false,
        };
        start.ArgumentList.Add(typeof(BenchCommand).Assembly.Location);
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["BENCH_HOME"] = home.Folder;
        start.Environment["BENCH_ROOT"] = Repository.Root;
        start.Environment.Remove("BENCH_DATABASE");
        return start;
    }
}
