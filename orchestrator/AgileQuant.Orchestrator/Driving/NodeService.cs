using System.Diagnostics;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>This process as a node: heartbeat, leases, one driver a device it owns, its own workers.</summary>
public sealed partial class NodeService(
    DriverServices services, IDeviceOwnership ownership, NodeStore nodes, NodeWorkerFactory workers, Comparison comparison, IChangeFeed feed,
    PeerRegistration peers, ILogger<NodeService> logger) : BackgroundService
{
    private static readonly TimeSpan StopBound = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan WakePause = TimeSpan.FromMilliseconds(200);
    private readonly Dictionary<Guid, Driven> _drivers = [];
    private readonly StrandedJobs _stranded = new(services.Database, services.Options);

    /// <summary>The node is in the database before the host counts as started.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await nodes.StartAsync(
            services.Node, new NodeDescription(ownership.Name, services.Shells.Transport, peers.Endpoint), cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
        List<Task> tasks = [WakeAsync(stop.Token), CompareAsync(stop.Token)];
        tasks.AddRange(Enumerable.Range(0, services.Options.NodeWorkers).Select(_ => workers.Create().RunAsync(stop.Token)));
        try
        {
            await LeaseLoopAsync(stoppingToken);
        }
        finally
        {
            await stop.CancelAsync();
            await HandOverAsync(tasks);
        }
    }

    private async Task LeaseLoopAsync(CancellationToken ct)
    {
        var renewed = Stopwatch.StartNew();
        while (!ct.IsCancellationRequested)
        {
            using var turn = CancellationTokenSource.CreateLinkedTokenSource(ct);
            turn.CancelAfter(services.Options.Lease / 2);
            try
            {
                if (_drivers.Count == 0 || renewed.Elapsed >= services.Options.Lease / 3)
                {
                    var asked = Stopwatch.StartNew(); // the lease counts from before the question, whenever the answer comes
                    await nodes.BeatAsync(services.Node, turn.Token);
                    await RenewAsync(turn.Token);
                    renewed = asked;
                    await ShareAsync(turn.Token);
                }

                await ReapAsync(turn.Token);
                foreach (var lease in await ownership.AcquireAsync(_drivers.Count, turn.Token))
                    Start(lease, ct);
                await _stranded.EndAsync(turn.Token);
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                LogLoopFailed(e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            // Nobody may drive on a lease that could not be renewed; the rows' epochs guard the rest.
            if (renewed.Elapsed >= services.Options.Lease)
                await CancelAllAsync();
            await services.Wake.WaitAsync(services.Options.Lease / 3, ct);
        }
    }

    private async Task RenewAsync(CancellationToken ct)
    {
        var held = _drivers.Values.Select(d => d.Lease).ToList();
        var kept = (await ownership.RenewAsync(held, ct)).Select(l => l.DeviceId).ToHashSet();
        foreach (var lost in held.Where(l => !kept.Contains(l.DeviceId)))
            await _drivers[lost.DeviceId].Stop.CancelAsync();
    }

    /// <summary>Stops the drivers of devices that other nodes should have by now; their leases are given back when they have ended.</summary>
    private async Task ShareAsync(CancellationToken ct)
    {
        if (_drivers.Count == 0)
            return;
        foreach (var device in await ownership.SurplusAsync(ct))
        {
            if (!_drivers.TryGetValue(device, out var driven) || driven.Stop.IsCancellationRequested)
                continue;
            LogHandedOver(device);
            await driven.Stop.CancelAsync();
        }
    }

    private void Start(DeviceLease lease, CancellationToken ct)
    {
        var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var driving = Task.Run(() => DriveAsync(lease, stop.Token), CancellationToken.None);
        _ = driving.ContinueWith(_ => services.Wake.Set(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default); // to give it back at once
        _drivers[lease.DeviceId] = new Driven(lease, stop, driving);
    }

    private async Task DriveAsync(DeviceLease lease, CancellationToken ct)
    {
        try
        {
            await new DeviceDriver(services, lease, logger).RunAsync(ct);
        }
        catch (LeaseLostException e)
        {
            LogLost(lease.DeviceId, e.Message);
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            // Stopping, or the lease was lost.
        }
        catch (Exception e)
        {
            LogDriverFailed(e, lease.DeviceId);
            await Task.Delay(services.Options.RetryFirst, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Gives back the devices whose drivers have ended.</summary>
    private async Task ReapAsync(CancellationToken ct)
    {
        foreach (var (device, driven) in _drivers.Where(d => d.Value.Task.IsCompleted).ToList())
        {
            await ownership.ReleaseAsync(driven.Lease, ct);
            _drivers.Remove(device);
            driven.Stop.Dispose();
        }
    }

    private async Task CancelAllAsync()
    {
        foreach (var driven in _drivers.Values)
            await driven.Stop.CancelAsync();
    }

    /// <summary>Stops following (engines on boards go on), then gives every device back so that others need not wait for the leases' end.</summary>
    private async Task HandOverAsync(List<Task> tasks)
    {
        await CancelAllAsync();
        var ending = Task.WhenAll(tasks.Concat(_drivers.Values.Select(d => d.Task)));
        await ending.WaitAsync(StopBound).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        try
        {
            await nodes.StopAsync(services.Node, CancellationToken.None);
        }
        catch (Exception e)
        {
            LogLoopFailed(e.Message);
        }
    }

    private async Task WakeAsync(CancellationToken ct)
    {
        try
        {
            await foreach (var _ in feed.SubscribeAsync(ct))
            {
                services.Wake.Set();
                await Task.Delay(WakePause, ct);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    private async Task CompareAsync(CancellationToken ct)
    {
        while (!ct.IsCancellationRequested)
        {
            try
            {
                if (await comparison.RunAsync(ct))
                    continue;
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                LogLoopFailed(e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await services.Wake.WaitAsync(services.Options.PollInterval, ct);
        }
    }

    [LoggerMessage(LogLevel.Warning, "The node goes on after: {Reason}")]
    private partial void LogLoopFailed(string reason);

    [LoggerMessage(LogLevel.Information, "Device {Device} goes to another node, which has fewer")]
    private partial void LogHandedOver(Guid device);

    [LoggerMessage(LogLevel.Information, "Device {Device} is no longer ours: {Reason}")]
    private partial void LogLost(Guid device, string reason);

    [LoggerMessage(LogLevel.Error, "The driver of device {Device} failed and is started again")]
    private partial void LogDriverFailed(Exception e, Guid device);

    private sealed record Driven(DeviceLease Lease, CancellationTokenSource Stop, Task Task);
}
