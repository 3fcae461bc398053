using AgileQuant.Orchestrator.Storage;
using Orleans.Placement;
using Orleans.Runtime.Placement;

namespace AgileQuant.Orchestrator.Orleans.Work;

/// <summary>On the silo whose node has the fewest running jobs of its own, and whose machine no timing job has to itself.</summary>
[Serializable, GenerateSerializer, Immutable]
public sealed class LeastWorkPlacement : PlacementStrategy;

/// <inheritdoc cref="LeastWorkPlacement"/>
[AttributeUsage(AttributeTargets.Class)]
public sealed class LeastWorkPlacementAttribute() : PlacementAttribute(new LeastWorkPlacement());

/// <summary>Reads the nodes' work anew every while, and counts what it placed in between.</summary>
internal sealed class LeastWorkDirector(NodeJobStore jobs, IClusterMembershipService membership, TimeProvider time) : IPlacementDirector, IDisposable
{
    private static readonly TimeSpan Fresh = TimeSpan.FromMilliseconds(300);
    private readonly SemaphoreSlim _one = new(1);
    private readonly Dictionary<string, long> _work = new(StringComparer.Ordinal);
    private long? _readAt;

    public async Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        var silos = context.GetCompatibleSilos(target);
        await _one.WaitAsync();
        try
        {
            await RefreshAsync();
            var members = membership.CurrentSnapshot.Members;
            string Name(SiloAddress silo) => members.TryGetValue(silo, out var member) ? member.Name : "";
            var chosen = silos.Where(s => _work.ContainsKey(Name(s))).OrderBy(s => _work[Name(s)]).ThenByDescending(s => s.Equals(context.LocalSilo))
                .FirstOrDefault(context.LocalSilo);
            if (_work.TryGetValue(Name(chosen), out var work))
                _work[Name(chosen)] = work + 1;
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
        _work.Clear();
        foreach (var load in (await jobs.LoadsAsync(CancellationToken.None)).Where(l => !l.HostTaken))
            _work[load.NodeId.ToString()] = load.Running;
        _readAt = time.GetTimestamp();
    }
}
