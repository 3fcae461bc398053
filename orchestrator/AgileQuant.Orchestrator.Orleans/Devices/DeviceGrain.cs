using AgileQuant.Orchestrator.Ownership;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>The last driver of a device, as kept in the table <c>grain_state</c>.</summary>
public sealed class DeviceHistory
{
    /// <summary>Name of the node.</summary>
    public string Node { get; set; } = "";

    public long Epoch { get; set; }

    public DateTimeOffset Since { get; set; }

    /// <summary>How many drivers there were.</summary>
    public long Drivers { get; set; }
}

/// <inheritdoc cref="IDeviceGrain"/>
[KeepAlive] // it ends with its lease, not by idling
[FairSharePlacement]
internal sealed partial class DeviceGrain(
    LocalLeases leases, DeviceActivity activity, NodeIdentity node, ILocalSiloDetails silo, TimeProvider time,
    [PersistentState("device")] IPersistentState<DeviceHistory> history, ILogger<DeviceGrain> logger) : Grain, IDeviceGrain, IRemindable
{
    private const string Backstop = "look after the device";

    /// <summary>The shortest that Orleans offers. Every silo's scan comes sooner; this one also comes when all scans of a cluster fail.</summary>
    private static readonly TimeSpan BackstopPeriod = TimeSpan.FromMinutes(1);

    private Guid Device => this.GetPrimaryKey();

    public async Task<DriveAnswer> EnsureDrivenAsync()
    {
        if (leases.Find(Device) is { } had)
        {
            if (!await activity.IsWantedAsync(Device, CancellationToken.None))
                return DriveAnswer.Driven;
            // The database says that it has run out: this node did not come to renew it. Somebody else may.
            leases.Forget(had);
            return DriveAnswer.NotHere;
        }

        if (await leases.TakeAsync(Device, GrainContext, CancellationToken.None) is not { } lease)
        {
            DeactivateOnIdle();
            return DriveAnswer.NotHere;
        }

        await RememberAsync(lease);
        return DriveAnswer.Driven;
    }

    public async Task WakeAsync()
    {
        if (leases.Find(Device) is not null)
            leases.Wake();
        else
            await EnsureDrivenAsync();
    }

    public async Task<DeviceLiveState> GetStateAsync()
    {
        var now = await activity.ReadAsync(Device, CancellationToken.None);
        var lease = leases.Find(Device);
        if (lease is null)
            DeactivateOnIdle(); // only asked: whoever needs a driver next is placed anew
        return new DeviceLiveState(
            lease is null ? now.NodeId : node.Id, lease is null ? now.Node : node.Name, lease?.Epoch ?? now.Epoch, now.Doing, now.Since,
            silo.SiloAddress.ToParsableString());
    }

    /// <summary>The backstop: one more look, and no more reminders for a device that needs nothing.</summary>
    public async Task ReceiveReminder(string reminderName, TickStatus status)
    {
        if (await EnsureDrivenAsync() == DriveAnswer.Driven || await activity.IsWantedAsync(Device, CancellationToken.None))
            return;
        if (await this.GetReminder(Backstop) is { } reminder)
            await this.UnregisterReminder(reminder);
    }

    /// <summary>For people and for the worst case; the lease counts already, so failing here is no failure.</summary>
    private async Task RememberAsync(DeviceLease lease)
    {
        try
        {
            history.State = new DeviceHistory
            {
                Node = node.Name,
                Epoch = lease.Epoch,
                Since = time.GetUtcNow(),
                Drivers = history.State.Drivers + 1,
            };
            await history.WriteStateAsync();
            if (await this.GetReminder(Backstop) is null)
                await this.RegisterOrUpdateReminder(Backstop, BackstopPeriod, BackstopPeriod);
        }
        catch (Exception e)
        {
            LogForgotten(Device, e.Message);
        }
    }

    [LoggerMessage(LogLevel.Information, "The grain of device {Device} could not note its lease: {Reason}")]
    private partial void LogForgotten(Guid device, string reason);
}
