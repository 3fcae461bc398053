namespace AgileQuant.Agent;

/// <summary>A time limit beside the caller's cancellation; knows which of the two ended a wait.</summary>
internal sealed class Bound : IDisposable
{
    private readonly CancellationTokenSource _source;
    private readonly CancellationToken _callers;
    private readonly DeviceAddress _address;
    private readonly string _what;
    private readonly TimeSpan _limit;

    public Bound(DeviceAddress address, string what, TimeSpan limit, CancellationToken callers)
    {
        _address = address;
        _what = what;
        _limit = limit;
        _callers = callers;
        _source = CancellationTokenSource.CreateLinkedTokenSource(callers);
        _source.CancelAfter(limit);
    }

    public CancellationToken Token => _source.Token;

    /// <summary>Something moved: the limit counts from now.</summary>
    public void Extend() => _source.CancelAfter(_limit);

    /// <summary>Turns the elapsed limit into its exception; the caller's own cancellation is left to the caller.</summary>
    public void ThrowIfElapsed()
    {
        if (_source.IsCancellationRequested && !_callers.IsCancellationRequested)
            throw new RemoteTimeoutException(_address, _what, _limit);
    }

    public void Dispose() => _source.Dispose();
}
