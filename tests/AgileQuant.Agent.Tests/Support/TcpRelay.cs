using System.Net;
using System.Net.Sockets;

namespace AgileQuant.Agent.Tests.Support;

/// <summary>A loopback TCP relay that can stall or cut what passes through it, as a bad network would.</summary>
public sealed class TcpRelay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private int _targetPort;
    private readonly Lock _lock = new();
    private readonly List<Socket> _sockets = [];
    private readonly Task _accept;
    private TaskCompletionSource _flow = Open();
    private long _cutAfter = long.MaxValue;
    private long _sent;

    public TcpRelay(int targetPort)
    {
        _targetPort = targetPort;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _accept = AcceptAsync();
    }

    public int Port { get; }

    /// <summary>Bytes passed from the client to the server so far.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    /// <summary>New connections lead to another server.</summary>
    public void Redirect(int targetPort) => Volatile.Write(ref _targetPort, targetPort);

    /// <summary>Cuts all connections once this many bytes have gone from clients to the server.</summary>
    public void CutAfter(long bytes) => Interlocked.Exchange(ref _cutAfter, bytes);

    /// <summary>Nothing passes any more in either direction, but the connections stay open.</summary>
    public void Stall() => _flow = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Resume() => _flow.TrySetResult();

    public void Cut()
    {
        lock (_lock)
        {
            foreach (var socket in _sockets)
            {
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
            }

            _sockets.Clear();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        Cut();
        await _accept;
        _listener.Dispose();
        _stop.Dispose();
    }

    private static TaskCompletionSource Open()
    {
        var open = new TaskCompletionSource();
        open.SetResult();
        return open;
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptSocketAsync(_stop.Token);
                var server = new Socket(SocketType.Stream, ProtocolType.Tcp);
                await server.ConnectAsync(IPAddress.Loopback, Volatile.Read(ref _targetPort), _stop.Token);
                lock (_lock)
                    _sockets.AddRange([client, server]);
                _ = PumpAsync(client, server, counts: true);
                _ = PumpAsync(server, client, counts: false);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Stopped, or the server refused: the client sees its connection end.
        }
    }

    private async Task PumpAsync(Socket from, Socket to, bool counts)
    {
        try
        {
            var buffer = new byte[16384];
            int count;
            while ((count = await from.ReceiveAsync(buffer, _stop.Token)) > 0)
            {
                await _flow.Task.WaitAsync(_stop.Token);
                await to.SendAsync(buffer.AsMemory(0, count), _stop.Token);
                if (counts && Interlocked.Add(ref _sent, count) > Interlocked.Read(ref _cutAfter))
                {
                    Interlocked.Exchange(ref _cutAfter, long.MaxValue);
                    Cut();
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            Cut(from, to);
        }
    }

    private void Cut(Socket one, Socket other)
    {
        lock (_lock)
        {
            _sockets.Remove(one);
            _sockets.Remove(other);
        }

        one.Dispose();
        other.Dispose();
    }
}
