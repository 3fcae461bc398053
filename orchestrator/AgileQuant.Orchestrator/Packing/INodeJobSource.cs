using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>Which pack, token file or score a worker of this node makes next. Whoever chooses: the claim's epoch guards every write.</summary>
public interface INodeJobSource
{
    /// <summary>A job that is claimed for this node now; null: none at the moment.</summary>
    Task<NodeJobRow?> NextAsync(CancellationToken ct);
}

/// <summary>Every worker takes the first job that it can get.</summary>
public sealed class FirstComeJobSource(NodeJobStore jobs) : INodeJobSource
{
    public Task<NodeJobRow?> NextAsync(CancellationToken ct) => jobs.ClaimAsync(ct);
}
