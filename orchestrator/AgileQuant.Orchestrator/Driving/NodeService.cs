using System.Diagnostics;
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
    ILogger<NodeService> logger) : BackgroundService
{
    private static readonly TimeSpan StopBound = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan WakePause = TimeSpan.FromMilliseconds(200);
    private readonly Dictionary<Guid, Driven> _drivers = [];
    private readonly StrandedJobs _stranded = new(services.Database, services.Options);

    /// <summary>The node is in the database before the host counts as started.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await nodes.StartAsync(services.Node, cancellationToken);
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
        var due = Stopwatch.StartNew();
        while (!ct.IsCancellationRequested)
        {
            try
            {
                if (_drivers.Count == 0 || due.Elapsed >= services.Options.Lease / 3 || renewed.Elapsed >= services.Options.Lease / 3)
                {
                    await nodes.BeatAsync(services.Node, ct);
                    await RenewAsync(ct);
                    renewed.Restart();
                    due.Restart();
                }

                await ReapAsync();
                foreach (var lease in await ownership.AcquireAsync(_drivers.Count, ct))
                    Start(lease, ct);
                await _stranded.EndAsync(ct);
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                LogLoopFailed(e.Message);
                // Nobody may drive on a lease that could not be renewed; the rows' epochs guard the rest.
                if (renewed.Elapsed >= services.Options.Lease)
                    await CancelAllAsync();
            }
            catch (OperationCanceledException)
            {
                return;
            }

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

    private void Start(DeviceLease lease, CancellationToken ct)
    {
        var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        _drivers[lease.DeviceId] = new Driven(lease, stop, Task.Run(() => DriveAsync(lease, stop.Token), CancellationToken.None));
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
    private async Task ReapAsync()
    {
        foreach (var (device, driven) in _drivers.Where(d => d.Value.Task.IsCompleted).ToList())
        {
            _drivers.Remove(device);
            driven.Stop.Dispose();
            await ownership.ReleaseAsync(driven.Lease, CancellationToken.None);
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

    [LoggerMessage(LogLevel.Information, "Device {Device} is no longer ours: {Reason}")]
    private partial void LogLost(Guid device, string reason);

    [LoggerMessage(LogLevel.Error, "The driver of device {Device} failed and is started again")]
    private partial void LogDriverFailed(Exception e, Guid device);

    private sealed record Driven(DeviceLease Lease, CancellationTokenSource Stop, Task Task);
}
