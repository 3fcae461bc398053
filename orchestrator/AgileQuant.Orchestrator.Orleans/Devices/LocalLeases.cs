using System.Collections.Concurrent;
using System.Threading.Channels;
using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Ownership;

namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>
/// Where the grains of this node's silo and the node itself meet: leases that grains have taken wait here until the node starts
/// their drivers, and the node says here which it renewed and gave back.
/// </summary>
public sealed class LocalLeases(LeaseStore leases, OrchestratorOptions options, WakeSignal wake, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan Nudge = TimeSpan.FromMilliseconds(50);
    private readonly ConcurrentDictionary<Guid, Held> _held = new();
    private readonly SemaphoreSlim _taking = new(1); // one after the other: a fair share is exact only when takes see each other
    private readonly Channel<DeviceLease> _granted = Channel.CreateBounded<DeviceLease>(
        new BoundedChannelOptions(options.MaxDevices) { FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>Devices whose leases this node has, as far as it knows.</summary>
    public int Count => _held.Count;

    /// <summary>The live lease of a device; null when this node has none. By this node's own clock, counted from the last renewal.</summary>
    public DeviceLease? Find(Guid device) => _held.TryGetValue(device, out var held) && IsLive(held) ? held.Lease : null;

    /// <summary>
    /// Takes the lease of a device for this node and hands it to the node's drivers. Null: it needs no driver, has a live lease, or
    /// this node has its fair share already.
    /// </summary>
    /// <param name="device">The device.</param>
    /// <param name="activation">The grain that ends with the lease; null: none.</param>
    /// <param name="ct">Stops waiting.</param>
    public async Task<DeviceLease?> TakeAsync(Guid device, IGrainContext? activation, CancellationToken ct)
    {
        await _taking.WaitAsync(ct);
        try
        {
            foreach (var expired in _held.Values.Where(h => !IsLive(h)))
                Forget(expired.Lease);
            if (_held.Count >= options.MaxDevices)
                return null;
            var asked = time.GetTimestamp();
            if (await leases.TakeWithinShareAsync(device, ct) is not { } lease)
                return null;
            _held[device] = new Held(lease, asked, activation);
            _granted.Writer.TryWrite(lease);
        }
        finally
        {
            _taking.Release();
        }

        _ = NudgeAsync();
        return Find(device);
    }

    /// <summary>Leases granted since the last call.</summary>
    public IReadOnlyList<DeviceLease> Drain()
    {
        var granted = new List<DeviceLease>();
        while (_granted.Reader.TryRead(out var lease))
        {
            if (Find(lease.DeviceId)?.Epoch == lease.Epoch)
                granted.Add(lease);
        }

        return granted;
    }

    /// <summary>Those of <paramref name="asked"/> that are missing in <paramref name="kept"/> are lost.</summary>
    /// <param name="asked">What was to be renewed.</param>
    /// <param name="kept">What was renewed.</param>
    /// <param name="at">When it was asked: the lease counts from then.</param>
    public void Renewed(IEnumerable<DeviceLease> asked, IEnumerable<DeviceLease> kept, long at)
    {
        var still = kept.Select(l => l.DeviceId).ToHashSet();
        foreach (var lease in asked)
        {
            if (!still.Contains(lease.DeviceId))
                Forget(lease);
            else if (_held.TryGetValue(lease.DeviceId, out var held) && held.Lease.Epoch == lease.Epoch)
                _held.TryUpdate(lease.DeviceId, held with { At = at }, held);
        }
    }

    /// <summary>The lease has ended: so does the grain, and the next one is placed anew.</summary>
    public void Forget(DeviceLease lease)
    {
        if (_held.TryGetValue(lease.DeviceId, out var held) && held.Lease.Epoch == lease.Epoch
            && _held.TryRemove(KeyValuePair.Create(lease.DeviceId, held)))
        {
            held.Activation?.Deactivate(new DeactivationReason(DeactivationReasonCode.ApplicationRequested, "the lease has ended"), CancellationToken.None);
        }
    }

    /// <summary>The node looks at the rows of its devices at once.</summary>
    public void Wake() => wake.Set();

    public void Dispose() => _taking.Dispose();

    private bool IsLive(Held held) => time.GetElapsedTime(held.At) < options.Lease;

    /// <summary>A wake between two waits is lost, so it is repeated until the node has come for its leases.</summary>
    private async Task NudgeAsync()
    {
        var end = time.GetTimestamp();
        while (_granted.Reader.Count > 0 && time.GetElapsedTime(end) < options.Lease)
        {
            wake.Set();
            await Task.Delay(Nudge, time);
        }
    }

    private sealed record Held(DeviceLease Lease, long At, IGrainContext? Activation);
}
