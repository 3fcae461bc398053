namespace AgileQuant.Host.Fuzz;

/// <summary>Ends the process when one input takes far too long: a reader that loops cannot be stopped otherwise.</summary>
internal sealed class Watchdog : IDisposable
{
    private readonly Timer _timer;
    private readonly TimeSpan _limit;

    public Watchdog(TimeSpan limit, string message)
    {
        _limit = limit;
        _timer = new Timer(_ => Environment.FailFast(message), null, limit, Timeout.InfiniteTimeSpan);
    }

    public void Restart() => _timer.Change(_limit, Timeout.InfiniteTimeSpan);

    public void Dispose() => _timer.Dispose();
}
