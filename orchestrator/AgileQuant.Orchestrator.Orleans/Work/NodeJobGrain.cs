using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Orleans.Work;

/// <summary>One job of the nodes' own: a pack, a token file or a score. It only finds the node; the worker's claim counts.</summary>
public interface INodeJobGrain : IGrainWithGuidKey
{
    /// <summary>Offers the job to the workers of the node that the grain was placed on. False: they have enough, or may not work now.</summary>
    Task<bool> PlaceAsync();
}

/// <inheritdoc cref="INodeJobGrain"/>
[LeastWorkPlacement]
internal sealed class NodeJobGrain(OfferedJobs offers, NodeJobStore jobs, NodeIdentity node) : Grain, INodeJobGrain
{
    public async Task<bool> PlaceAsync()
    {
        DeactivateOnIdle(); // the next try, if there is one, is placed by what is known then
        var here = (await jobs.LoadsAsync(CancellationToken.None)).FirstOrDefault(l => l.NodeId == node.Id);
        return here is { HostTaken: false } && offers.TryOffer(this.GetPrimaryKey());
    }
}
