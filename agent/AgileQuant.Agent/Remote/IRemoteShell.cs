namespace AgileQuant.Agent;

/// <summary>Makes connections to boards. One implementation a transport; all pass the same contract tests.</summary>
public interface IRemoteShellFactory
{
    /// <summary>Name for logs and the UI: <c>openssh</c>, <c>ssh.net</c>.</summary>
    string Transport { get; }

    /// <summary>Asks the board for its host key without trusting it and without authenticating.</summary>
    /// <exception cref="HostUnreachableException">No SSH server answered.</exception>
    Task<HostKeyOffer> FetchHostKeyAsync(DeviceAddress address, CancellationToken cancellationToken = default);

    /// <summary>Connects, checks the pinned host key, authenticates, and waits until the remote shell answers.</summary>
    /// <exception cref="HostUnreachableException">No SSH server answered in time.</exception>
    /// <exception cref="HostKeyChangedException">The board's key is not the pinned one; nothing was sent to it.</exception>
    /// <exception cref="AuthenticationFailedException">The board refused all offered keys.</exception>
    Task<IRemoteShell> ConnectAsync(ConnectionSettings settings, CancellationToken cancellationToken = default);
}

/// <summary>
/// One connection to one board. Commands are argument vectors, never strings; they run under POSIX <c>sh</c> whatever the
/// login shell is, in the user's home folder. Safe for concurrent use; the number of commands at a time is limited, others
/// wait. A command whose wait ends (timeout, cancellation, lost connection) may still run on the board: make it repeatable.
/// </summary>
public interface IRemoteShell : IAsyncDisposable
{
    DeviceAddress Address { get; }

    /// <summary>What really carries this connection, for records: the factory's name, or another transport's and why, for
    /// instance <c>openssh (no identity file is set: logins by an SSH agent go through it)</c>.</summary>
    string Transport { get; }

    /// <summary>Absolute path of the remote user's home folder.</summary>
    string HomeFolder { get; }

    /// <summary>False once the connection is known to be lost. A lost connection never comes back: connect again.</summary>
    bool IsConnected { get; }

    /// <summary>Runs a command to its end and captures its output up to the limits in <paramref name="options"/>.</summary>
    /// <exception cref="RemoteTimeoutException">It did not end in time.</exception>
    /// <exception cref="ConnectionLostException">The connection broke; a remote exit code 255 is a result, not this.</exception>
    Task<RemoteResult> RunAsync(
        IReadOnlyList<string> command, RunOptions? options = null, CancellationToken cancellationToken = default);

    /// <summary>Runs a command and hands its standard output over in chunks as it comes; the next chunk is read when the
    /// callback is done. Returns the exit code. Throws as <see cref="RunAsync"/> does.</summary>
    Task<int> StreamAsync(
        IReadOnlyList<string> command,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout,
        TimeSpan timeout,
        CancellationToken cancellationToken = default);

    /// <summary>
    /// Writes a local file's bytes from <paramref name="resumeOffset"/> on to the same place of the remote file, keeping what is
    /// before (an implementation may resend some of it). Offset 0 truncates. The folder must exist. Progress is the offset
    /// reached. Fails when no byte moves for <see cref="TransferStall"/>. Each byte is written at its position and none before
    /// those in front of it, so that an upload cut off at any moment leaves a part without holes, to be resumed at its size,
    /// and what the board writes late does no harm.
    /// </summary>
    Task UploadAsync(
        string localPath, string remotePath, long resumeOffset = 0, IProgress<long>? progress = null,
        CancellationToken cancellationToken = default);

    /// <summary>Copies at most <paramref name="maxBytes"/> bytes of a remote file from <paramref name="offset"/> on; returns their number.</summary>
    /// <exception cref="RemoteCommandException">The file does not exist or cannot be read.</exception>
    Task<long> DownloadAsync(
        string remotePath, Stream destination, long offset = 0, long maxBytes = long.MaxValue,
        CancellationToken cancellationToken = default);

    /// <summary>A transfer that moves nothing for this long has failed.</summary>
    TimeSpan TransferStall { get; }
}

/// <summary>Limits and input of <see cref="IRemoteShell.RunAsync"/>.</summary>
public sealed record RunOptions
{
    public const int DefaultMaxStderr = 1 << 16;

    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(60);

    public TimeSpan Timeout { get; init; } = DefaultTimeout;

    /// <summary>Sent to the command's standard input, which then ends; empty: input is at its end from the start.</summary>
    public ReadOnlyMemory<byte> Stdin { get; init; }

    /// <summary>Bytes of standard output kept; the rest is read and dropped.</summary>
    public int MaxStdoutBytes { get; init; } = 1 << 20;

    /// <summary>Bytes of standard error kept; the rest is read and dropped.</summary>
    public int MaxStderrBytes { get; init; } = DefaultMaxStderr;
}

/// <summary>What a finished remote command left. Text is UTF-8; invalid bytes become U+FFFD.</summary>
public sealed record RemoteResult(int ExitCode, string Stdout, string Stderr)
{
    public bool StdoutTruncated { get; init; }

    public bool StderrTruncated { get; init; }

    public bool Succeeded => ExitCode == 0;
}
