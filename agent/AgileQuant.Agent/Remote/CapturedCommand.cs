namespace AgileQuant.Agent;

/// <summary>What the shells of every transport do alike with a command: its time limit, and its output captured or handed over.</summary>
internal static class CapturedCommand
{
    /// <summary>A transport's own part: runs the command until it ends or the bound is reached, and returns its exit code.</summary>
    /// <param name="stderr">Takes its standard error.</param>
    /// <param name="bound">Ends it.</param>
    /// <param name="onStdout">Takes chunks of its standard output; the next one is read when it is done.</param>
    public delegate Task<int> Execute(BoundedCapture stderr, Bound bound, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout);

    /// <summary>See <see cref="IRemoteShell.RunAsync"/>.</summary>
    public static async Task<RemoteResult> RunAsync(
        DeviceAddress address, IReadOnlyList<string> command, RunOptions options, Execute execute, CancellationToken cancellationToken)
    {
        var stdout = new BoundedCapture(options.MaxStdoutBytes);
        var stderr = new BoundedCapture(options.MaxStderrBytes);
        using var bound = new Bound(address, RemoteFileCommand.Describe(command), options.Timeout, cancellationToken);
        var exitCode = await execute(stderr, bound, (chunk, _) =>
        {
            stdout.Append(chunk.Span);
            return ValueTask.CompletedTask;
        });
        return new RemoteResult(exitCode, stdout.Text, stderr.Text)
        {
            StdoutTruncated = stdout.Truncated,
            StderrTruncated = stderr.Truncated,
        };
    }

    /// <summary>See <see cref="IRemoteShell.StreamAsync"/>.</summary>
    public static async Task<int> StreamAsync(
        DeviceAddress address,
        IReadOnlyList<string> command,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout,
        TimeSpan timeout,
        Execute execute,
        CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(onStdout);
        using var bound = new Bound(address, RemoteFileCommand.Describe(command), timeout, cancellationToken);
        return await execute(new BoundedCapture(RunOptions.DefaultMaxStderr), bound, onStdout);
    }
}
