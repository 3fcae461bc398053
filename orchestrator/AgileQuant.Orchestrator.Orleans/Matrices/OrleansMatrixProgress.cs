using System.Runtime.CompilerServices;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Orleans.Silo;
using AgileQuant.Orchestrator.Services;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Orleans.Matrices;

/// <summary>Progress through the matrix's grain; while that does not answer, from the database as without a cluster.</summary>
public sealed partial class OrleansMatrixProgress(ClusterSilo silo, FeedMatrixProgress local, ILogger<OrleansMatrixProgress> logger) : IMatrixProgress
{
    public async IAsyncEnumerable<MatrixView> WatchAsync(Guid matrix, [EnumeratorCancellation] CancellationToken ct = default)
    {
        while (silo.Grains is { } grains)
        {
            var ended = false;
            await using var reading = grains.GetGrain<IMatrixGrain>(matrix).WatchAsync(ct).GetAsyncEnumerator(ct);
            while (await NextAsync(reading, matrix, ct) is { } next)
            {
                if (next.Ended)
                {
                    ended = true;
                    break;
                }

                yield return next.View!;
            }

            if (ended)
                yield break;
            // The silo with the grain has gone. What the database says bridges the gap, then there is a grain elsewhere.
            await using var bridge = local.WatchAsync(matrix, ct).GetAsyncEnumerator(ct);
            if (!await bridge.MoveNextAsync())
                yield break;
            yield return bridge.Current;
        }

        await foreach (var view in local.WatchAsync(matrix, ct))
            yield return view;
    }

    /// <summary>Null: the grain does not answer.</summary>
    private async Task<Next?> NextAsync(IAsyncEnumerator<string> reading, Guid matrix, CancellationToken ct)
    {
        try
        {
            return await reading.MoveNextAsync() ? new Next(false, MatrixJson.Read(reading.Current)) : new Next(true, null);
        }
        catch (Exception e) when (!ct.IsCancellationRequested)
        {
            LogNoAnswer(matrix, e.Message);
            return null;
        }
    }

    [LoggerMessage(LogLevel.Information, "The grain of matrix {Matrix} does not answer: {Reason}")]
    private partial void LogNoAnswer(Guid matrix, string reason);

    private sealed record Next(bool Ended, MatrixView? View);
}
