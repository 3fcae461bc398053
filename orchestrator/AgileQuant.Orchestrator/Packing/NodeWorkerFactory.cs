using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>Makes as many workers as a node runs.</summary>
public sealed class NodeWorkerFactory(
    NodeJobStore jobs, INodeJobSource source, NodeJobs work, HostUseStore hosts, NodeIdentity node, OrchestratorOptions options, WakeSignal wake, ILogger<NodeWorker> logger)
{
    public NodeWorker Create() => new(jobs, source, work, hosts, node, options, wake, logger);
}
