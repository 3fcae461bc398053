using AgileQuant.Orchestrator.Orleans.Placement;
using AgileQuant.Orchestrator.Storage;
using Orleans.Placement;

namespace AgileQuant.Orchestrator.Orleans.Work;

/// <summary>On the silo whose node has the fewest running jobs of its own, and whose machine no timing job has to itself.</summary>
[Serializable, GenerateSerializer, Immutable]
public sealed class LeastWorkPlacement : PlacementStrategy;

/// <inheritdoc cref="LeastWorkPlacement"/>
[AttributeUsage(AttributeTargets.Class)]
public sealed class LeastWorkPlacementAttribute() : PlacementAttribute(new LeastWorkPlacement());

/// <summary>By the jobs that nodes run now.</summary>
internal sealed class LeastWorkDirector(NodeJobStore jobs, IClusterMembershipService membership, TimeProvider time) : RoomDirector(membership, time)
{
    protected override async Task<IEnumerable<(Guid Node, long Room)>> ReadRoomAsync() =>
        (await jobs.LoadsAsync(CancellationToken.None)).Where(l => !l.HostTaken).Select(l => (l.NodeId, -(long)l.Running));
}
