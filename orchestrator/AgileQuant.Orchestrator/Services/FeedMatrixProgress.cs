using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Services;

/// <summary>Progress from the change feed and the views in Postgres; one computation a change for all readers of this process.</summary>
public sealed class FeedMatrixProgress(IMatrixService matrices, IChangeFeed feed, TimeProvider time) : IMatrixProgress
{
    /// <summary>Some of what is shown depends on the clock, and a notification may be missed.</summary>
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(5);

    /// <summary>Changes come in bursts.</summary>
    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(500);

    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, Followed> _followed = [];

    public async IAsyncEnumerable<MatrixView> WatchAsync(Guid matrix, [EnumeratorCancellation] CancellationToken ct = default)
    {
        var newest = Channel.CreateBounded<MatrixView>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        var followed = Join(matrix, newest);
        try
        {
            await foreach (var view in newest.Reader.ReadAllAsync(ct))
                yield return view;
        }
        finally
        {
            await LeaveAsync(matrix, followed, newest);
        }
    }

    private Followed Join(Guid matrix, Channel<MatrixView> reader)
    {
        lock (_lock)
        {
            if (!_followed.TryGetValue(matrix, out var followed))
            {
                _followed[matrix] = followed = new Followed();
                followed.Following = Task.Run(() => FollowAsync(matrix, followed));
            }

            followed.Readers.Add(reader);
            if (followed.Last is { } last)
                reader.Writer.TryWrite(last);
            return followed;
        }
    }

    private async Task LeaveAsync(Guid matrix, Followed followed, Channel<MatrixView> reader)
    {
        lock (_lock)
        {
            followed.Readers.Remove(reader);
            if (followed.Readers.Count > 0)
                return;
            if (_followed.GetValueOrDefault(matrix) == followed)
                _followed.Remove(matrix);
        }

        await followed.Stop.CancelAsync();
    }

    private async Task FollowAsync(Guid matrix, Followed followed)
    {
        using var changed = new SemaphoreSlim(0, 1);
        var ct = followed.Stop.Token;
        var listening = ListenAsync(matrix, changed, ct);
        Exception? failure = null;
        try
        {
            while (await matrices.FindAsync(matrix.ToString(), ct) is { } view)
            {
                Show(followed, view);
                await Task.Delay(Shortest, time, ct);
                await changed.WaitAsync(Heartbeat, ct);
            }
        }
        catch (Exception e)
        {
            failure = ct.IsCancellationRequested ? null : e;
        }

        await followed.Stop.CancelAsync();
        await listening;
        End(matrix, followed, failure);
    }

    private void Show(Followed followed, MatrixView view)
    {
        lock (_lock)
        {
            followed.Last = view;
            foreach (var reader in followed.Readers)
                reader.Writer.TryWrite(view);
        }
    }

    /// <summary>Readers end as this did; who comes later begins anew.</summary>
    private void End(Guid matrix, Followed followed, Exception? failure)
    {
        lock (_lock)
        {
            if (_followed.GetValueOrDefault(matrix) == followed)
                _followed.Remove(matrix);
            foreach (var reader in followed.Readers)
                reader.Writer.TryComplete(failure);
        }
    }

    private async Task ListenAsync(Guid matrix, SemaphoreSlim changed, CancellationToken ct)
    {
        try
        {
            await foreach (var change in feed.SubscribeAsync(ct))
            {
                if (change.Topic == "matrix" && (change.Id == matrix || change.Id == Guid.Empty) && changed.CurrentCount == 0)
                    changed.Release();
            }
        }
        catch (OperationCanceledException)
        {
            // Nobody follows any more.
        }
    }

    private sealed class Followed
    {
        public HashSet<Channel<MatrixView>> Readers { get; } = [];

        public CancellationTokenSource Stop { get; } = new();

        public MatrixView? Last { get; set; }

        public Task Following { get; set; } = Task.CompletedTask;
    }
}
