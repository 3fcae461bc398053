using AgileQuant.Orchestrator.Ownership;
using Orleans.Placement;
using Orleans.Runtime.Placement;

namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>On the silo whose node has the most room by fair share of the devices that need a driver.</summary>
[Serializable, GenerateSerializer, Immutable]
public sealed class FairSharePlacement : PlacementStrategy;

/// <inheritdoc cref="FairSharePlacement"/>
[AttributeUsage(AttributeTargets.Class)]
public sealed class FairSharePlacementAttribute() : PlacementAttribute(new FairSharePlacement());

/// <summary>
/// Chooses by shares that are read anew every while and counted down in between, so that many grains at once do not all go to one
/// silo. Only a hint: the silo itself takes no more leases than its share.
/// </summary>
internal sealed class FairShareDirector(LeaseStore leases, IClusterMembershipService membership, TimeProvider time) : IPlacementDirector, IDisposable
{
    private static readonly TimeSpan Fresh = TimeSpan.FromMilliseconds(300);
    private readonly SemaphoreSlim _one = new(1);
    private readonly Dictionary<string, long> _room = new(StringComparer.Ordinal);
    private long? _readAt;

    public async Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        var silos = context.GetCompatibleSilos(target);
        await _one.WaitAsync();
        try
        {
            await RefreshAsync();
            var members = membership.CurrentSnapshot.Members;
            var names = silos.ToDictionary(s => s, s => members.TryGetValue(s, out var member) ? member.Name : "");
            // A node without a row is not alive in the database: it could take no lease.
            var chosen = silos.Where(s => _room.ContainsKey(names[s])).OrderByDescending(s => _room[names[s]]).ThenByDescending(s => s.Equals(context.LocalSilo))
                .FirstOrDefault(context.LocalSilo);
            if (names.TryGetValue(chosen, out var name) && _room.TryGetValue(name, out var room))
                _room[name] = room - 1;
            return chosen;
        }
        finally
        {
            _one.Release();
        }
    }

    public void Dispose() => _one.Dispose();

    private async Task RefreshAsync()
    {
        if (_readAt is { } at && time.GetElapsedTime(at) < Fresh)
            return;
        _room.Clear();
        foreach (var share in await leases.SharesAsync(CancellationToken.None))
            _room[share.NodeId.ToString()] = share.Share - share.Held;
        _readAt = time.GetTimestamp();
    }
}
