using System.Net.Sockets;
using System.Text;

namespace AgileQuant.Cluster.Tests.Support;

/// <summary>
/// What stands between one node and Postgres: a Unix socket of its own that passes everything on, until it is told to pass nothing
/// (connections stay open, as behind a dead switch) or to say when a certain statement goes by.
/// </summary>
internal sealed class PostgresRelay : IAsyncDisposable
{
    private const string SocketName = ".s.PGSQL.5432";
    private readonly string _target;
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Socket> _open = [];
    private readonly Task _accepting;
    private TaskCompletionSource _flow = Flowing();
    private (byte[] Text, TaskCompletionSource Seen)? _watched;

    /// <param name="folder">A new folder for the socket; its name is the <c>Host</c> of connection strings.</param>
    /// <param name="postgres">Folder of Postgres's own socket.</param>
    public PostgresRelay(string folder, string postgres)
    {
        Folder = folder;
        _target = Path.Combine(postgres, SocketName);
        Directory.CreateDirectory(folder);
        _listener.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder, SocketName)));
        _listener.Listen(128);
        _accepting = AcceptAsync();
    }

    public string Folder { get; }

    /// <summary>Nothing passes any more, in either direction; new connections are accepted and never answered.</summary>
    public void Cut() => _flow = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Everything passes again, what was held back first.</summary>
    public void Mend() => _flow.TrySetResult();

    /// <summary>Completes when a client next sends this text; what follows it on that connection is held back until <see cref="Mend"/>.</summary>
    public Task WatchAsync(string text)
    {
        var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
            _watched = (Encoding.ASCII.GetBytes(text), seen);
        return seen.Task;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        Mend();
        _listener.Dispose();
        lock (_lock)
            _open.ForEach(s => s.Dispose());
        await _accepting;
        _stop.Dispose();
        File.Delete(Path.Combine(Folder, SocketName));
    }

    private static TaskCompletionSource Flowing()
    {
        var flow = new TaskCompletionSource();
        flow.SetResult();
        return flow;
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (!_stop.IsCancellationRequested)
                _ = PassAsync(await _listener.AcceptAsync(_stop.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task PassAsync(Socket client)
    {
        using var server = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        using (client)
        {
            lock (_lock)
                _open.AddRange([client, server]);
            try
            {
                await _flow.Task.WaitAsync(_stop.Token);
                await server.ConnectAsync(new UnixDomainSocketEndPoint(_target), _stop.Token);
                await Task.WhenAny(CopyAsync(client, server, watch: true), CopyAsync(server, client, watch: false));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // One side is gone; so is the other.
            }

            lock (_lock)
                _open.RemoveAll(s => s == client || s == server);
        }
    }

    private async Task CopyAsync(Socket from, Socket to, bool watch)
    {
        var buffer = new byte[1 << 16];
        while (await from.ReceiveAsync(buffer, SocketFlags.None, _stop.Token) is > 0 and var count)
        {
            await _flow.Task.WaitAsync(_stop.Token);
            await to.SendAsync(buffer.AsMemory(0, count), SocketFlags.None, _stop.Token);
            if (watch)
                Look(buffer.AsSpan(0, count));
        }
    }

    private void Look(ReadOnlySpan<byte> sent)
    {
        lock (_lock)
        {
            if (_watched is not { } watched || sent.IndexOf(watched.Text) < 0)
                return;
            _watched = null;
            Cut();
            watched.Seen.TrySetResult();
        }
    }
}
