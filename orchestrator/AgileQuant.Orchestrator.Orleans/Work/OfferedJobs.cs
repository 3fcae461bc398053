using AgileQuant.Orchestrator.Driving;

namespace AgileQuant.Orchestrator.Orleans.Work;

/// <summary>Jobs that grains of this node's silo offer to its workers: no more than there are workers, none for longer than a lease.</summary>
public sealed class OfferedJobs(OrchestratorOptions options, WakeSignal wake, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, long> _offers = [];

    /// <summary>False: every worker has an offer already.</summary>
    public bool TryOffer(Guid job)
    {
        lock (_lock)
        {
            foreach (var old in _offers.Where(o => time.GetElapsedTime(o.Value) > options.Lease).Select(o => o.Key).ToList())
                _offers.Remove(old);
            if (_offers.ContainsKey(job))
                return true;
            if (_offers.Count >= options.NodeWorkers)
                return false;
            _offers[job] = time.GetTimestamp();
        }

        wake.Set();
        return true;
    }

    /// <summary>Takes the oldest offer; null when there is none.</summary>
    public Guid? Take()
    {
        lock (_lock)
        {
            if (_offers.Count == 0)
                return null;
            var job = _offers.MinBy(o => o.Value).Key;
            _offers.Remove(job);
            return job;
        }
    }
}
