using System.Text;

namespace AgileQuant.Agent.OpenSsh;

/// <summary>
/// The process that holds a board's connection. Its remote side reads standard input until it ends, and our end of that pipe
/// closes with this process however it dies: no orphaned connection can stay, so ControlPersist is not needed.
/// </summary>
internal sealed class SshMaster : IAsyncDisposable
{
    private const string ReadyMark = "AQ-READY ";
    private static readonly TimeSpan CloseGrace = TimeSpan.FromSeconds(1);

    private readonly PrivateFolder _folder;
    private readonly SshProcess _process;
    private readonly BoundedCapture _stderr = new(RunOptions.DefaultMaxStderr);
    private readonly Task _drain;
    private volatile bool _closed;

    private SshMaster(PrivateFolder folder, SshProcess process, string controlPath)
    {
        _folder = folder;
        _process = process;
        ControlPath = controlPath;
        _drain = _stderr.DrainAsync(process.Stderr, CancellationToken.None);
    }

    public string ControlPath { get; }

    public string HomeFolder { get; private set; } = "/";

    public bool IsAlive => !_closed && !_process.HasExited;

    /// <summary>Last words of the connection's process.</summary>
    public string LastError => _closed ? "it was closed here" : SshFailure.LastLine(_stderr.Text);

    public static async Task<SshMaster> ConnectAsync(
        OpenSshOptions options, ConnectionSettings settings, CancellationToken cancellationToken)
    {
        var folder = new PrivateFolder();
        SshMaster? master = null;
        try
        {
            var pin = new HostKeyPin(folder.Path, settings.HostKeyFingerprint);
            var controlPath = Path.Combine(folder.Path, "c");
            var command = PosixShell.WrapForLoginShell($"echo \"{ReadyMark}$HOME\"; exec cat > /dev/null");
            var arguments = SshArguments.Connect(options, settings, pin, controlPath, command);
            master = new SshMaster(folder, SshProcess.Start(options.SshProgram, arguments), controlPath);
            await master.WaitReadyAsync(settings, pin, cancellationToken);
            return master;
        }
        catch
        {
            if (master is not null)
                await master.DisposeAsync();
            else
                folder.Dispose();
            throw;
        }
    }

    /// <summary>Waits a moment for the process to end after a session failed, so that its reason is known.</summary>
    public async Task EndsWithinAsync(TimeSpan time)
    {
        if (!_closed)
            await WaitForEndAsync(time);
    }

    public async ValueTask DisposeAsync()
    {
        if (_closed)
            return;
        _closed = true;
        _process.CloseStdin();
        if (!await WaitForEndAsync(CloseGrace))
            _process.Kill();
        await WaitForEndAsync(CloseGrace);
        _process.Dispose();
        _folder.Dispose();
    }

    private async Task<bool> WaitForEndAsync(TimeSpan time)
    {
        try
        {
            await Task.WhenAll(_process.WaitForExitAsync(CancellationToken.None), _drain).WaitAsync(time);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private async Task WaitReadyAsync(ConnectionSettings settings, HostKeyPin pin, CancellationToken cancellationToken)
    {
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bound.CancelAfter(settings.ConnectTimeout);
        try
        {
            if (await ReadHomeAsync(bound.Token) is { } home)
            {
                HomeFolder = home;
                return;
            }

            await EndsWithinAsync(CloseGrace);
            int? exitCode = _process.HasExited ? _process.ExitCode : null;
            throw SshFailure.Classify(settings, pin.Offer(settings.Address), exitCode, _stderr.Text);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new HostUnreachableException(settings.Address, $"no answer within {settings.ConnectTimeout.TotalSeconds:0.#} s");
        }
    }

    // A login shell's own start-up files may print lines before ours.
    private async Task<string?> ReadHomeAsync(CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var buffer = new byte[4096];
        int count;
        while ((count = await _process.Stdout.ReadAsync(buffer, cancellationToken).AsTask().WaitAsync(cancellationToken)) > 0)
        {
            text.Append(Encoding.UTF8.GetString(buffer, 0, count));
            var lines = text.ToString().Split('\n');
            if (lines[..^1].FirstOrDefault(l => l.StartsWith(ReadyMark, StringComparison.Ordinal)) is { } line)
                return line[ReadyMark.Length..].TrimEnd('\r');
            if (text.Length > RunOptions.DefaultMaxStderr)
                return null;
        }

        return null;
    }
}
