namespace AgileQuant.Agent.OpenSsh;

/// <summary>One command over a connection: its command line, its streams, its exit code.</summary>
internal static class SshSession
{
    /// <summary>The ssh client's own failure. A remote 255 is told apart by a mark the remote side prints.</summary>
    public const int OwnExitCode = 255;

    private const string ExitMark = "AQ-EXIT-255\n";

    public static string CommandLine(IReadOnlyList<string> command) => PosixShell.WrapForLoginShell(
        $"{PosixShell.Join(command)}; r=$?; [ $r -ne 255 ] || echo {ExitMark.TrimEnd()} >&2; exit $r");

    public static bool HasExitMark(string stderr) => stderr.EndsWith(ExitMark, StringComparison.Ordinal);

    public static string WithoutExitMark(string stderr) => HasExitMark(stderr) ? stderr[..^ExitMark.Length] : stderr;

    /// <summary>Moves all streams until the process ends, and returns its exit code. Kills it when the bound is reached.</summary>
    public static async Task<int> CompleteAsync(
        SshProcess process,
        BoundedCapture stderr,
        Bound bound,
        Func<Stream, CancellationToken, Task>? stdin,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout)
    {
        // A callback's failure must end the other streams' waits too.
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(bound.Token);
        var input = FeedAsync(process, stdin, stop.Token);
        var errors = stderr.DrainAsync(process.Stderr, stop.Token);
        try
        {
            await PassOnAsync(process.Stdout, onStdout, stop.Token);
            await errors;
            await process.WaitForExitAsync(stop.Token);
            return process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            bound.ThrowIfElapsed();
            throw;
        }
        finally
        {
            process.Kill();
            await stop.CancelAsync();
            await Task.WhenAll(input, errors).ContinueWith(
                static t => _ = t.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }

    private static async Task FeedAsync(SshProcess process, Func<Stream, CancellationToken, Task>? stdin, CancellationToken cancellationToken)
    {
        try
        {
            if (stdin is not null)
                await stdin(process.Stdin, cancellationToken).WaitAsync(cancellationToken);
        }
        catch (IOException)
        {
            // The command ended without reading all of it; its exit code says whether that is an error.
        }
        finally
        {
            process.CloseStdin();
        }
    }

    private static async Task PassOnAsync(
        Stream stdout, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout, CancellationToken cancellationToken)
    {
        var buffer = new byte[1 << 16];
        int count;
        while ((count = await stdout.ReadAsync(buffer, cancellationToken).AsTask().WaitAsync(cancellationToken)) > 0)
            await onStdout(buffer.AsMemory(0, count), cancellationToken);
    }
}
