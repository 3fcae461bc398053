namespace AgileQuant.Orchestrator.Contracts;

/// <summary>Follows matrices. However many follow one, each change is worked out once.</summary>
public interface IMatrixProgress
{
    /// <summary>
    /// The matrix as it is, then again whenever it has changed, and every few seconds in any case. Ends when there is no such matrix
    /// (any more); a matrix that is over goes on being shown. A slow reader gets the newest, never a queue.
    /// </summary>
    IAsyncEnumerable<MatrixView> WatchAsync(Guid matrix, CancellationToken ct = default);
}
