namespace AgileQuant.Agent.OpenSsh;

/// <summary>One board over one multiplexed OpenSSH connection.</summary>
internal sealed class OpenSshShell(OpenSshOptions options, ConnectionSettings settings, SshMaster master) : IRemoteShell
{
    private readonly SemaphoreSlim _sessions = new(options.MaxSessions);

    public DeviceAddress Address => settings.Address;

    public string Transport { get; init; } = OpenSshShellFactory.Name;

    public string HomeFolder => master.HomeFolder;

    public bool IsConnected => master.IsAlive;

    public TimeSpan TransferStall => options.TransferStall;

    public async Task<RemoteResult> RunAsync(
        IReadOnlyList<string> command, RunOptions? options = null, CancellationToken cancellationToken = default)
    {
        var limits = options ?? new RunOptions();
        var result = await CapturedCommand.RunAsync(
            Address, command, limits,
            (stderr, bound, onStdout) => ExecuteAsync(
                command, stderr, bound, async (stdin, token) => await stdin.WriteAsync(limits.Stdin, token), onStdout),
            cancellationToken);
        return result with { Stderr = SshSession.WithoutExitMark(result.Stderr) };
    }

    public Task<int> StreamAsync(
        IReadOnlyList<string> command,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout,
        TimeSpan timeout,
        CancellationToken cancellationToken = default) =>
        CapturedCommand.StreamAsync(
            Address, command, onStdout, timeout,
            (stderr, bound, take) => ExecuteAsync(command, stderr, bound, stdin: null, take),
            cancellationToken);

    // By dd and not by sftp: some boards (Termux) have no sftp-server.
    public async Task UploadAsync(
        string localPath, string remotePath, long resumeOffset = 0, IProgress<long>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(resumeOffset);
        await using var file = new FileStream(localPath, FileMode.Open, FileAccess.Read, FileShare.Read, RemoteFileCommand.BlockBytes, useAsync: true);
        var start = RemoteFileCommand.Start(resumeOffset, file.Length);
        file.Position = start;
        var command = RemoteFileCommand.Upload(remotePath, start, file.Length);
        var stderr = new BoundedCapture(RunOptions.DefaultMaxStderr);
        using var bound = new Bound(Address, $"The upload to {remotePath}", TransferStall, cancellationToken);
        var exitCode = await ExecuteAsync(
            command, stderr, bound,
            async (stdin, token) => await SendAsync(file, stdin, start, progress, bound, token),
            (_, _) => ValueTask.CompletedTask);
        if (exitCode != 0)
            throw new RemoteCommandException(Address, $"The upload to {remotePath}", exitCode, stderr.Text);
    }

    public async Task<long> DownloadAsync(
        string remotePath, Stream destination, long offset = 0, long maxBytes = long.MaxValue,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(destination);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        var command = RemoteFileCommand.Download(remotePath, offset, maxBytes);
        var stderr = new BoundedCapture(RunOptions.DefaultMaxStderr);
        using var bound = new Bound(Address, $"The download of {remotePath}", TransferStall, cancellationToken);
        var total = 0L;
        var exitCode = await ExecuteAsync(command, stderr, bound, stdin: null, async (chunk, token) =>
        {
            chunk = chunk[..(int)Math.Min(chunk.Length, maxBytes - total)];
            await destination.WriteAsync(chunk, token);
            total += chunk.Length;
            bound.Extend();
        });
        return exitCode == 0
            ? total
            : throw new RemoteCommandException(Address, $"The download of {remotePath}", exitCode, stderr.Text);
    }

    public ValueTask DisposeAsync() => master.DisposeAsync();

    private static async Task SendAsync(
        Stream file, Stream stdin, long sent, IProgress<long>? progress, Bound bound, CancellationToken cancellationToken)
    {
        var buffer = new byte[RemoteFileCommand.BlockBytes];
        int count;
        while ((count = await file.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken)) > 0)
        {
            await stdin.WriteAsync(buffer.AsMemory(0, count), cancellationToken).AsTask().WaitAsync(cancellationToken);
            sent += count;
            bound.Extend();
            progress?.Report(sent);
        }
    }

    private async Task<int> ExecuteAsync(
        IReadOnlyList<string> command,
        BoundedCapture stderr,
        Bound bound,
        Func<Stream, CancellationToken, Task>? stdin,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout)
    {
        var line = SshSession.CommandLine(command);
        try
        {
            await _sessions.WaitAsync(bound.Token);
        }
        catch (OperationCanceledException)
        {
            bound.ThrowIfElapsed();
            throw;
        }

        try
        {
            if (!IsConnected)
                throw new ConnectionLostException(Address, master.LastError);
            using var process = SshProcess.Start(options.SshProgram, SshArguments.Session(Address, master.ControlPath, line));
            var exitCode = await SshSession.CompleteAsync(process, stderr, bound, stdin, onStdout);
            if (exitCode != SshSession.OwnExitCode || SshSession.HasExitMark(stderr.Tail))
                return exitCode;
            await master.EndsWithinAsync(TimeSpan.FromSeconds(1));
            throw new ConnectionLostException(Address, IsConnected ? SshFailure.LastLine(stderr.Text) : master.LastError);
        }
        finally
        {
            _sessions.Release();
        }
    }
}
