namespace AgileQuant.Orchestrator.Driving;

/// <summary>Wakes everybody who waits now. A wake between two waits is lost: waits are short and rows are what counts.</summary>
public sealed class WakeSignal
{
    private volatile TaskCompletionSource _next = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Set() => Interlocked.Exchange(ref _next, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    /// <summary>Returns on a wake, after <paramref name="longest"/>, or on cancellation (without throwing).</summary>
    public async Task WaitAsync(TimeSpan longest, CancellationToken ct)
    {
        try
        {
            await _next.Task.WaitAsync(longest, ct);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            // Both are the end of the wait.
        }
    }
}
