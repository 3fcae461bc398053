using Renci.SshNet;

namespace AgileQuant.Agent.SshNet;

/// <summary>One board over SSH.NET: commands share one connection, a large upload has an SFTP connection of its own.</summary>
internal sealed class SshNetShell(
    SshNetOptions options, ConnectionSettings settings, SshEndpoint endpoint, PrivateKeyFile key, SshNetConnection connection) : IRemoteShell
{
    /// <summary>A download is asked for in parts: SSH.NET takes in whatever a command prints.</summary>
    private const long DownloadPart = 16 << 20;

    private readonly SemaphoreSlim _sessions = new(options.MaxSessions);
    private volatile bool _hasNoSftp;

    public DeviceAddress Address => settings.Address;

    public string Transport => SshNetShellFactory.Name;

    public string HomeFolder => connection.HomeFolder;

    public bool IsConnected => !connection.Lost.IsCancellationRequested;

    public TimeSpan TransferStall => options.TransferStall;

    public Task<RemoteResult> RunAsync(
        IReadOnlyList<string> command, RunOptions? options = null, CancellationToken cancellationToken = default)
    {
        var limits = options ?? new RunOptions();
        return CapturedCommand.RunAsync(
            Address, command, limits,
            (stderr, bound, onStdout) => ExecuteAsync(
                command, stderr, bound, limits.Stdin.IsEmpty ? null : (stdin, token) => Feed(limits.Stdin, stdin, token), onStdout),
            cancellationToken);
    }

    public Task<int> StreamAsync(
        IReadOnlyList<string> command,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout,
        TimeSpan timeout,
        CancellationToken cancellationToken = default) =>
        CapturedCommand.StreamAsync(
            Address, command, onStdout, timeout,
            (stderr, bound, take) => ExecuteAsync(command, stderr, bound, feed: null, take),
            cancellationToken);

    // What SFTP did not finish, dd does: where there is no SFTP server, and to hear the reason for a failure in words.
    public async Task UploadAsync(
        string localPath, string remotePath, long resumeOffset = 0, IProgress<long>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(resumeOffset);
        await using var file = new FileStream(localPath, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        var what = $"The upload to {remotePath}";
        using var bound = new Bound(Address, what, TransferStall, cancellationToken);
        var told = resumeOffset;
        void Moved(long offset)
        {
            connection.Heard(); // what leaves makes room that only the board's answers make
            bound.Extend();
            if (offset <= told)
                return;
            told = offset;
            progress?.Report(offset);
        }

        var there = Math.Min(resumeOffset, file.Length);
        if (!_hasNoSftp && file.Length - there >= options.SftpFromBytes)
        {
            file.Position = there;
            there = await SftpAsync(file, remotePath, Moved, bound);
            if (there == file.Length)
                return;
        }

        var start = RemoteFileCommand.Start(there, file.Length);
        file.Position = start;
        var stderr = new BoundedCapture(RunOptions.DefaultMaxStderr);
        var exitCode = await ExecuteAsync(
            RemoteFileCommand.Upload(remotePath, start, file.Length), stderr, bound,
            start == file.Length ? null : (stdin, token) => Feed(file, stdin, Moved, token),
            (_, _) => ValueTask.CompletedTask);
        if (exitCode != 0)
            throw new RemoteCommandException(Address, what, exitCode, stderr.Text);
    }

    public async Task<long> DownloadAsync(
        string remotePath, Stream destination, long offset = 0, long maxBytes = long.MaxValue,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(destination);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        using var bound = new Bound(Address, $"The download of {remotePath}", TransferStall, cancellationToken);
        var total = 0L;
        while (true)
        {
            var part = Math.Min(DownloadPart, maxBytes - total);
            var got = 0L;
            var stderr = new BoundedCapture(RunOptions.DefaultMaxStderr);
            var exitCode = await ExecuteAsync(RemoteFileCommand.Download(remotePath, offset + total, part), stderr, bound, null, async (chunk, token) =>
            {
                chunk = chunk[..(int)Math.Min(chunk.Length, part - got)];
                await destination.WriteAsync(chunk, token);
                got += chunk.Length;
                bound.Extend();
            });
            if (exitCode != 0)
                throw new RemoteCommandException(Address, $"The download of {remotePath}", exitCode, stderr.Text);
            total += got;
            if (got < part || total == maxBytes)
                return total;
        }
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private static void Feed(ReadOnlyMemory<byte> bytes, Stream stdin, CancellationToken cancellationToken)
    {
        for (; !bytes.IsEmpty; bytes = bytes[Math.Min(bytes.Length, RemoteFileCommand.BlockBytes)..])
        {
            cancellationToken.ThrowIfCancellationRequested();
            stdin.Write(bytes[..Math.Min(bytes.Length, RemoteFileCommand.BlockBytes)].ToArray());
        }
    }

    private static void Feed(FileStream file, Stream stdin, Action<long> moved, CancellationToken cancellationToken)
    {
        var buffer = new byte[RemoteFileCommand.BlockBytes];
        int count;
        while ((count = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)) > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            stdin.Write(buffer, 0, count);
            moved(file.Position);
        }
    }

    /// <summary>How many bytes the board has in the end: perhaps no more than before.</summary>
    private async Task<long> SftpAsync(FileStream file, string remotePath, Action<long> moved, Bound bound)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(bound.Token, connection.Lost);
        var info = SshNetClients.Info(
            endpoint, Address.User, settings.ConnectTimeout, new PrivateKeyAuthenticationMethod(Address.User, key));
        // Half the stall, so that dd still gets its chance to say what is wrong.
        var client = new SftpClient(info) { OperationTimeout = TransferStall / 2 };
        var before = file.Position;
        SftpUpload? upload = null;
        try
        {
            var check = new HostKeyCheck(Address, settings.HostKeyFingerprint);
            await SshNetClients.ConnectAsync(client, check, Address, settings.ConnectTimeout, stop.Token);
            info.Timeout = TransferStall;
            moved(file.Position);
            upload = new SftpUpload(client, file, remotePath, options.SftpWritesInFlight);
            await OwnThread.RunAsync(() =>
            {
                upload.Run(moved, stop.Token);
                return true;
            }).WaitAsync(stop.Token);
            return file.Length;
        }
        catch (HostKeyChangedException)
        {
            connection.Lose("another host key was shown by a second connection to it");
            throw;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            if (connection.Lost.IsCancellationRequested)
                throw connection.LostBecause();
            bound.ThrowIfElapsed();
            throw;
        }
        catch (Exception)
        {
            // Let in but no further: the board refused the subsystem, and is not asked again.
            _hasNoSftp |= info.IsAuthenticated && upload is null;
            return upload is { Confirmed: var sure } && sure < file.Length ? sure : before;
        }
        finally
        {
            OwnThread.Forget(client.Dispose);
        }
    }

    private async Task<int> ExecuteAsync(
        IReadOnlyList<string> command,
        BoundedCapture stderr,
        Bound bound,
        Action<Stream, CancellationToken>? feed,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout)
    {
        var line = SshNetExec.Line(command, feed is not null);
        try
        {
            await _sessions.WaitAsync(bound.Token);
        }
        catch (OperationCanceledException)
        {
            bound.ThrowIfElapsed();
            throw;
        }

        if (IsConnected)
            return await SshNetExec.RunAsync(connection, line, stderr, bound, feed, onStdout, () => _sessions.Release());
        _sessions.Release();
        throw connection.LostBecause();
    }
}
