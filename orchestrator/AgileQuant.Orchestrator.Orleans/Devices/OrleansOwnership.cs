using System.Collections.Concurrent;
using AgileQuant.Orchestrator.Orleans.Silo;
using AgileQuant.Orchestrator.Ownership;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>
/// Ownership through one grain a device. Every node scans for devices with work and no live lease and calls their grains; the grain's
/// node takes the lease. Grains only decide where: the lease counts, and while the cluster of silos does not answer, leases are
/// taken without it.
/// </summary>
public sealed partial class OrleansOwnership(
    LeaseStore store, LocalLeases local, ClusterSilo silo, OrchestratorOptions options, TimeProvider time, ILogger<OrleansOwnership> logger) : IDeviceOwnership
{
    public const string ImplementationName = "Orleans";
    private const int ScanLimit = 500;

    /// <summary>Grains answer in milliseconds. Whoever waits longer is looked at in the next turn.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<Guid, Task> _calls = new();
    private readonly Dictionary<Guid, long> _freeSince = [];

    public string Name => ImplementationName;

    public async Task<IReadOnlyList<DeviceLease>> AcquireAsync(int held, CancellationToken ct = default)
    {
        var free = await store.FreeAsync(ScanLimit, ct);
        Remember(free);
        if (free.Count > 0)
        {
            foreach (var device in free.Where(d => !_calls.ContainsKey(d)))
                Call(device);
            await Task.WhenAll(_calls.Values).WaitAsync(Patience, time, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            ct.ThrowIfCancellationRequested();
            await TakeWithoutGrainAsync(ct);
        }

        return local.Drain();
    }

    public async Task<IReadOnlyList<DeviceLease>> RenewAsync(IReadOnlyCollection<DeviceLease> leases, CancellationToken ct = default)
    {
        var asked = time.GetTimestamp();
        var kept = await store.RenewAsync(leases, ct);
        local.Renewed(leases, kept, asked);
        return kept;
    }

    public async Task<IReadOnlyCollection<Guid>> SurplusAsync(CancellationToken ct = default) => await store.SurplusAsync(ct);

    public async Task ReleaseAsync(DeviceLease lease, CancellationToken ct = default)
    {
        try
        {
            await store.ReleaseAsync(lease, ct);
        }
        finally
        {
            local.Forget(lease); // also when the database is out of reach: the grain must not stay here then
        }
    }

    /// <summary>Tells the grain, wherever it is. Notifications and polling stand behind: a call that fails is no failure.</summary>
    public async Task WakeAsync(Guid deviceId, CancellationToken ct = default)
    {
        if (silo.Grains is not { } grains)
            return;
        try
        {
            await grains.GetGrain<IDeviceGrain>(deviceId).WakeAsync().WaitAsync(ct);
        }
        catch (Exception e) when (!ct.IsCancellationRequested)
        {
            LogNoAnswer(deviceId, e.Message);
        }
    }

    private void Call(Guid device)
    {
        if (silo.Grains is not { } grains)
            return;
        var call = CallAsync();
        if (!call.IsCompleted)
        {
            _calls[device] = call;
            _ = call.ContinueWith(_ => _calls.TryRemove(device, out Task? _), TaskScheduler.Default);
        }

        async Task CallAsync()
        {
            try
            {
                // "Not here" ends that activation; the second call is placed with what is known by then.
                var grain = grains.GetGrain<IDeviceGrain>(device);
                if (await grain.EnsureDrivenAsync() == DriveAnswer.NotHere)
                    await grain.EnsureDrivenAsync();
            }
            catch (Exception e)
            {
                LogNoAnswer(device, e.Message);
            }
        }
    }

    private void Remember(List<Guid> free)
    {
        foreach (var gone in _freeSince.Keys.Except(free).ToList())
            _freeSince.Remove(gone);
        foreach (var device in free)
            _freeSince.TryAdd(device, time.GetTimestamp());
    }

    /// <summary>
    /// For what nobody drives although grains were asked for a third of a lease: the silo with the grain hangs, or this node has
    /// none. Within the fair share, as always.
    /// </summary>
    private async Task TakeWithoutGrainAsync(CancellationToken ct)
    {
        var bound = silo.Grains is null ? TimeSpan.Zero : options.Lease / 3;
        foreach (var device in _freeSince.Where(f => time.GetElapsedTime(f.Value) >= bound).Select(f => f.Key).ToList())
        {
            if (await local.TakeAsync(device, null, ct) is not null)
                LogTakenWithoutGrain(device);
        }
    }

    [LoggerMessage(LogLevel.Information, "The grain of device {Device} does not answer: {Reason}")]
    private partial void LogNoAnswer(Guid device, string reason);

    [LoggerMessage(LogLevel.Warning, "No grain took device {Device} for long; this node took its lease itself")]
    private partial void LogTakenWithoutGrain(Guid device);
}
