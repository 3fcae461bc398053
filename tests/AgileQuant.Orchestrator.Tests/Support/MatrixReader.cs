using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>Follows a matrix and keeps the newest view.</summary>
internal sealed class MatrixReader : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _reading;
    private volatile MatrixView? _last;

    public MatrixReader(IMatrixProgress progress, Guid matrix) => _reading = Task.Run(() => ReadAsync(progress, matrix));

    public MatrixView? Last => _last;

    /// <summary>No more views will come.</summary>
    public bool Ended => _reading.IsCompleted;

    public Task<MatrixView?> UntilAsync(Func<MatrixView, bool> wanted) =>
        TestNode.UntilAsync(() => Task.FromResult(_last), v => v is not null && wanted(v), TimeSpan.FromSeconds(30));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _reading.WaitAsync(TimeSpan.FromSeconds(30)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task ReadAsync(IMatrixProgress progress, Guid matrix)
    {
        await foreach (var view in progress.WatchAsync(matrix, _stop.Token))
            _last = view;
    }
}
