using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>The real service; counts how often a matrix was worked out.</summary>
internal sealed class CountingMatrices(IMatrixService inner) : IMatrixService
{
    private int _found;

    public int Found => Volatile.Read(ref _found);

    public Task<MatrixPlanView> PlanAsync(MatrixSpec spec, CancellationToken ct = default) => inner.PlanAsync(spec, ct);

    public Task<Guid> StartAsync(MatrixSpec spec, string createdBy, CancellationToken ct = default) => inner.StartAsync(spec, createdBy, ct);

    public Task<IReadOnlyList<MatrixSummaryView>> ListAsync(int limit = 100, CancellationToken ct = default) => inner.ListAsync(limit, ct);

    public Task<MatrixView?> FindAsync(string idOrName, CancellationToken ct = default)
    {
        Interlocked.Increment(ref _found);
        return inner.FindAsync(idOrName, ct);
    }

    public Task CancelAsync(Guid matrixId, string requestedBy, CancellationToken ct = default) => inner.CancelAsync(matrixId, requestedBy, ct);
}
