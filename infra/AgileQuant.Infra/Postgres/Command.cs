using System.ComponentModel;
using System.Diagnostics;

namespace AgileQuant.Infra.Postgres;

/// <summary>What a finished command left behind.</summary>
internal sealed record CommandResult(int ExitCode, string Output, string Error)
{
    /// <summary>Both streams, for messages.</summary>
    public string Text => (Error.Trim() + "\n" + Output.Trim()).Trim();
}

/// <summary>Runs a local command as an argument vector, with a bound on its time.</summary>
internal static class Command
{
    /// <summary>Runs to the end; kills the command and throws when it takes longer than <paramref name="timeout"/>.</summary>
    /// <exception cref="EmbeddedPostgresException">The command cannot be started or takes too long.</exception>
    public static async Task<CommandResult> RunAsync(
        IReadOnlyList<string> command, TimeSpan timeout, CancellationToken cancellation = default)
    {
        var start = new ProcessStartInfo(command[0])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            // Postgres tools complain about a current folder that their account may not enter.
            WorkingDirectory = "/",
        };
        foreach (var argument in command.Skip(1))
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Start(start);
        process.StandardInput.Close();
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        bound.CancelAfter(timeout);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(bound.Token);
            var error = process.StandardError.ReadToEndAsync(bound.Token);
            await process.WaitForExitAsync(bound.Token);
            return new CommandResult(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException e)
        {
            process.Kill(entireProcessTree: true);
            cancellation.ThrowIfCancellationRequested();
            throw new EmbeddedPostgresException(
                $"{Path.GetFileName(command[0])} did not finish in {timeout.TotalSeconds:0} s: {string.Join(' ', command)}", e);
        }
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new EmbeddedPostgresException($"cannot run {start.FileName}: {e.Message}", e);
        }
    }
}
