using System.Threading.Channels;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Dashboard.Model;

/// <summary>
/// Turns the change feed into refreshes of one page: changes within <see cref="Batch"/> cause one refresh, none while paused,
/// and one on resuming if something changed meanwhile. A feed that breaks is subscribed to again with a growing pause.
/// </summary>
internal sealed class LiveUpdates : IAsyncDisposable
{
    internal static readonly TimeSpan Batch = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan MaxPause = TimeSpan.FromSeconds(30);

    private readonly IChangeFeed _feed;
    private readonly Func<ChangeEvent, bool> _concerns;
    private readonly Func<CancellationToken, Task> _refresh;
    private readonly TimeProvider _clock;
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly Task _work;
    private volatile bool _paused;
    private volatile bool _missed;

    internal LiveUpdates(IChangeFeed feed, Func<ChangeEvent, bool> concerns, Func<CancellationToken, Task> refresh, TimeProvider? clock = null)
    {
        (_feed, _concerns, _refresh, _clock) = (feed, concerns, refresh, clock ?? TimeProvider.System);
        _work = Task.WhenAll(ListenAsync(_stop.Token), RefreshAsync(_stop.Token));
    }

    /// <summary>Whether something changed while paused.</summary>
    internal bool Missed => _missed;

    internal bool Paused
    {
        get => _paused;
        set
        {
            _paused = value;
            if (!value && _missed)
            {
                _missed = false;
                _signal.Writer.TryWrite(true);
            }
        }
    }

    /// <summary>Asks for a refresh as if something had changed.</summary>
    internal void Poke()
    {
        if (_paused)
        {
            _missed = true;
        }
        else
        {
            _signal.Writer.TryWrite(true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await _work;
        }
        catch (OperationCanceledException)
        {
            // The way both loops end.
        }

        _stop.Dispose();
    }

    private async Task ListenAsync(CancellationToken ct)
    {
        for (var pause = TimeSpan.FromSeconds(1); !ct.IsCancellationRequested; pause = pause * 2 > MaxPause ? MaxPause : pause * 2)
        {
            try
            {
                await foreach (var change in _feed.SubscribeAsync(ct))
                {
                    pause = TimeSpan.FromSeconds(1);
                    if (_concerns(change))
                    {
                        Poke();
                    }
                }
            }
            catch (Exception) when (!ct.IsCancellationRequested)
            {
                // The feed's own reader logs why; here it only matters to try again, and to look at what was missed.
            }

            await Task.Delay(pause, _clock, ct);
            Poke();
        }
    }

    private async Task RefreshAsync(CancellationToken ct)
    {
        while (await _signal.Reader.WaitToReadAsync(ct))
        {
            await Task.Delay(Batch, _clock, ct);
            while (_signal.Reader.TryRead(out _))
            {
            }

            if (_paused)
            {
                _missed = true;
                continue;
            }

            await _refresh(ct);
        }
    }
}
