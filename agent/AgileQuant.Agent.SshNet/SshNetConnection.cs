using System.Text;
using AgileQuant.Agent.OpenSsh;
using Renci.SshNet;

namespace AgileQuant.Agent.SshNet;

/// <summary>
/// One board's connection. One remote <c>cat</c> is held open on it and echoes a byte each keep-alive interval: SSH.NET's own
/// keep-alive asks for no answer, so a peer that is gone would stay unnoticed until TCP gives up, after a quarter of an hour.
/// </summary>
internal sealed class SshNetConnection : IAsyncDisposable
{
    private const string ReadyMark = "AQ-READY ";
    private static readonly TimeSpan CloseGrace = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(5);

    private readonly SshClient _client;
    private readonly ConnectionSettings _settings;
    private readonly CancellationTokenSource _lost = new();
    private SshCommand? _hold;
    private Stream? _probes;
    private string? _why;
    private int _heard;
    private int _probing;

    private SshNetConnection(SshClient client, ConnectionSettings settings)
    {
        _client = client;
        _settings = settings;
        Lost = _lost.Token;
        client.ErrorOccurred += (_, e) => Lose(e.Exception.Message.TrimEnd('.'));
    }

    /// <summary>Cancelled once the connection is known to be lost, or closed here.</summary>
    public CancellationToken Lost { get; }

    public DeviceAddress Address => _settings.Address;

    public string HomeFolder { get; private set; } = "/";

    public static async Task<SshNetConnection> ConnectAsync(
        ConnectionSettings settings, SshEndpoint endpoint, PrivateKeyFile key, TimeSpan stall, CancellationToken cancellationToken)
    {
        var user = settings.Address.User;
        var info = SshNetClients.Info(endpoint, user, settings.ConnectTimeout, new PrivateKeyAuthenticationMethod(user, key));
        var client = new SshClient(info);
        var check = new HostKeyCheck(settings.Address, settings.HostKeyFingerprint);
        await SshNetClients.ConnectAsync(client, check, settings.Address, settings.ConnectTimeout, cancellationToken);
        info.Timeout = stall; // from now on the bound of a send that waits for the board to read
        var connection = new SshNetConnection(client, settings);
        try
        {
            await connection.HoldAsync(cancellationToken);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    public SshCommand Command(string line) => _client.CreateCommand(line);

    /// <summary>Something came from the board.</summary>
    public void Heard() => Volatile.Write(ref _heard, 1);

    /// <summary>From now on every use fails with this reason; the first one counts.</summary>
    public void Lose(string reason)
    {
        if (Interlocked.CompareExchange(ref _why, reason, null) is null)
            _ = _lost.CancelAsync();
    }

    public ConnectionLostException LostBecause(Exception? inner = null) => new(_settings.Address, _why ?? "it ended", inner);

    public async ValueTask DisposeAsync()
    {
        Lose("it was closed here");
        // A send that hangs on a dead link holds SSH.NET's locks until TCP gives up: never wait for it.
        await Task.WhenAny(OwnThread.EndAsync(_client.Dispose), Task.Delay(CloseGrace));
    }

    private async Task HoldAsync(CancellationToken cancellationToken)
    {
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, Lost);
        bound.CancelAfter(_settings.ConnectTimeout);
        _hold = Command(PosixShell.WrapForLoginShell($"echo \"{ReadyMark}$HOME\"; exec cat"));
        try
        {
            var ended = await OwnThread.RunAsync(() =>
            {
                var running = _hold.ExecuteAsync(CancellationToken.None);
                _probes = _hold.CreateInputStream();
                return running;
            }).WaitAsync(bound.Token);
            HomeFolder = await ReadHomeAsync(_hold, ended, bound.Token);
            _ = ended.ContinueWith(_ => Lose("the board ended the session that holds it"), TaskScheduler.Default);
            _ = KeepAliveAsync(_hold.OutputStream, Lost);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new HostUnreachableException(
                _settings.Address, _why ?? $"its shell did not answer within {_settings.ConnectTimeout.TotalSeconds:0.#} s");
        }
        catch (Exception e) when (e is Renci.SshNet.Common.SshException or InvalidOperationException)
        {
            throw new HostUnreachableException(_settings.Address, _why ?? e.Message.TrimEnd('.'), e);
        }
    }

    // A login shell's own start-up files may print lines before ours.
    private async Task<string> ReadHomeAsync(SshCommand hold, Task ended, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        while (true)
        {
            var over = ended.IsCompleted;
            text.Append(Encoding.UTF8.GetString(Waiting(hold.OutputStream)));
            var lines = text.ToString().Split('\n');
            if (lines[..^1].FirstOrDefault(l => l.StartsWith(ReadyMark, StringComparison.Ordinal)) is { } line)
                return line[ReadyMark.Length..].TrimEnd('\r');
            if (over || text.Length > RunOptions.DefaultMaxStderr)
            {
                await ended.WaitAsync(cancellationToken);
                throw SshFailure.LoginShell(
                    _settings.Address, hold.ExitStatus ?? -1, SshFailure.LastLine(Encoding.UTF8.GetString(Waiting(hold.ExtendedOutputStream))));
            }

            await Task.WhenAny(ended, Task.Delay(Look, cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private async Task KeepAliveAsync(Stream echoes, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(_settings.KeepAliveInterval);
        var unanswered = 0;
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                if (Waiting(echoes).Length > 0 | Interlocked.Exchange(ref _heard, 0) != 0)
                    unanswered = 0;
                if (unanswered >= _settings.KeepAliveMisses)
                    Lose($"nothing came from it for {unanswered + 1} times {_settings.KeepAliveInterval.TotalSeconds:0.#} s");
                unanswered++;
                Probe();
            }
        }
        catch (OperationCanceledException)
        {
            // Lost or closed.
        }
    }

    private void Probe()
    {
        // One that hangs in a full socket is enough.
        if (_probes is not { } probes || Interlocked.Exchange(ref _probing, 1) != 0)
            return;
        OwnThread.Forget(() =>
        {
            probes.Write("\n"u8.ToArray());
            Volatile.Write(ref _probing, 0);
        });
    }

    /// <summary>What a stream of SSH.NET holds already; never waits.</summary>
    internal static byte[] Waiting(Stream stream)
    {
        var count = (int)Math.Min(stream.Length, 1 << 16);
        if (count == 0)
            return [];
        var bytes = new byte[count];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
