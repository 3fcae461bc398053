using System.Diagnostics;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Perf;

/// <summary>Runs a program to its end, within a bound.</summary>
internal static class PerfProcess
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(60);

    /// <returns>What it wrote to standard output.</returns>
    /// <exception cref="BenchException">It does not start, failed, or took too long; the message has its last words.</exception>
    public static async Task<string> RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken ct)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        Process? started;
        try
        {
            started = Process.Start(start);
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new BenchException($"cannot start {program}: {e.Message}", e);
        }

        using var process = started ?? throw new BenchException($"cannot start {program}");
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(ct);
        bound.CancelAfter(Limit);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(bound.Token);
            var tail = new Queue<string>();
            while (await process.StandardError.ReadLineAsync(bound.Token) is { } line)
            {
                tail.Enqueue(line);
                if (tail.Count > 10)
                    tail.Dequeue();
            }

            await process.WaitForExitAsync(bound.Token);
            return process.ExitCode == 0
                ? await output
                : throw new BenchException($"{program} ended with exit code {process.ExitCode}: {string.Join(" | ", tail)}");
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new BenchException($"{program} took longer than {Limit.TotalMinutes:0} minutes and was ended", e);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
