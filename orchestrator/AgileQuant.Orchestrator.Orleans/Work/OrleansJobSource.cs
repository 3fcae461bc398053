using AgileQuant.Orchestrator.Orleans.Silo;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Orleans.Work;

/// <summary>
/// Has each open job's grain placed on the node with the least work, whose worker then claims that very job. A worker that finds no
/// offer asks the grains; while the cluster does not answer it takes the first job it can get.
/// </summary>
public sealed partial class OrleansJobSource(NodeJobStore jobs, OfferedJobs offers, ClusterSilo silo, ILogger<OrleansJobSource> logger) : INodeJobSource
{
    /// <summary>More than a cluster's workers are not needed: whoever has ended a job asks again.</summary>
    private const int ScanLimit = 32;

    public async Task<NodeJobRow?> NextAsync(CancellationToken ct)
    {
        if (await TakeOfferAsync(ct) is { } offered)
            return offered;
        if (silo.Grains is not { } grains)
            return await jobs.ClaimAsync(ct);
        foreach (var job in await jobs.ClaimableAsync(ScanLimit, ct))
        {
            try
            {
                if (!await grains.GetGrain<INodeJobGrain>(job).PlaceAsync().WaitAsync(ct))
                    return await jobs.ClaimAsync(job, ct); // nobody with less work wants it, and this worker has nothing to do
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                LogNoAnswer(job, e.Message);
                return await jobs.ClaimAsync(job, ct);
            }

            if (await TakeOfferAsync(ct) is { } mine)
                return mine;
        }

        return null;
    }

    private async Task<NodeJobRow?> TakeOfferAsync(CancellationToken ct)
    {
        while (offers.Take() is { } job)
        {
            if (await jobs.ClaimAsync(job, ct) is { } claimed)
                return claimed; // an offer may have been overtaken: by another node, or by a cancellation
        }

        return null;
    }

    [LoggerMessage(LogLevel.Information, "The grain of the job {Job} does not answer, this node takes it: {Reason}")]
    private partial void LogNoAnswer(Guid job, string reason);
}
