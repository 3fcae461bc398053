using Orleans.Runtime.Placement;

namespace AgileQuant.Orchestrator.Orleans.Placement;

/// <summary>
/// Places an activation on the silo whose node has the most room. Room is read anew every while and counted down in between, so that
/// many activations at once do not all go to one silo. Only a hint: what is taken there is checked in the database.
/// </summary>
internal abstract class RoomDirector(IClusterMembershipService membership, TimeProvider time) : IPlacementDirector, IDisposable
{
    private static readonly TimeSpan Fresh = TimeSpan.FromMilliseconds(300);
    private readonly SemaphoreSlim _one = new(1);
    private Dictionary<string, long> _room = [];
    private long? _readAt;

    /// <summary>Room by node; a node that is missing can take nothing.</summary>
    protected abstract Task<IEnumerable<(Guid Node, long Room)>> ReadRoomAsync();

    public async Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        var silos = context.GetCompatibleSilos(target);
        await _one.WaitAsync();
        try
        {
            await RefreshAsync();
            var members = membership.CurrentSnapshot.Members;
            string Name(SiloAddress silo) => members.TryGetValue(silo, out var member) ? member.Name : "";
            var chosen = silos.Where(s => _room.ContainsKey(Name(s))).OrderByDescending(s => _room[Name(s)]).ThenByDescending(s => s.Equals(context.LocalSilo))
                .FirstOrDefault(context.LocalSilo);
            if (_room.TryGetValue(Name(chosen), out var room))
                _room[Name(chosen)] = room - 1;
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
        _room = (await ReadRoomAsync()).ToDictionary(r => r.Node.ToString(), r => r.Room, StringComparer.Ordinal); // silos are named by their nodes' ids
        _readAt = time.GetTimestamp();
    }
}
