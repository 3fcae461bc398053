using AgileQuant.Orchestrator.Orleans.Placement;
using AgileQuant.Orchestrator.Ownership;
using Orleans.Placement;

namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>On the silo whose node has the most room by fair share of the devices that need a driver.</summary>
[Serializable, GenerateSerializer, Immutable]
public sealed class FairSharePlacement : PlacementStrategy;

/// <inheritdoc cref="FairSharePlacement"/>
[AttributeUsage(AttributeTargets.Class)]
public sealed class FairSharePlacementAttribute() : PlacementAttribute(new FairSharePlacement());

/// <summary>By fair shares of the devices; a silo takes no more leases than its share, wherever grains are placed.</summary>
internal sealed class FairShareDirector(LeaseStore leases, IClusterMembershipService membership, TimeProvider time) : RoomDirector(membership, time)
{
    protected override async Task<IEnumerable<(Guid Node, long Room)>> ReadRoomAsync() =>
        (await leases.SharesAsync(CancellationToken.None)).Select(s => (s.NodeId, s.Share - s.Held));
}
