using AgileQuant.Engine;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>Claims jobs of this node one after the other and does them, sharing the host politely with timing jobs.</summary>
public sealed partial class NodeWorker(
    NodeJobStore jobs, INodeJobSource source, NodeJobs work, HostUseStore hosts, NodeIdentity node, OrchestratorOptions options, WakeSignal wake, ILogger<NodeWorker> logger)
{
    private static readonly TimeSpan RetryFirst = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan RetryLongest = TimeSpan.FromMinutes(1);

    /// <summary>Works until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        var holder = Guid.CreateVersion7();
        var settled = false;
        while (!ct.IsCancellationRequested)
        {
            var worked = false;
            try
            {
                if (!settled)
                    await jobs.SettleAllAsync(ct);
                settled = true;
                await jobs.SweepAsync(ct);
                worked = await jobs.AnyAsync(ct) && await TryOneAsync(holder, ct);
            }
            catch (Exception e) when (!ct.IsCancellationRequested)
            {
                LogFailed(e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            if (!worked)
                await wake.WaitAsync(options.PollInterval, ct);
        }
    }

    private async Task<bool> TryOneAsync(Guid holder, CancellationToken ct)
    {
        if (node.BootId is { } boot && !await hosts.TakeAsync(boot, holder, HostUse.Worker, $"packing and scoring on {node.Name}", ct))
            return false;
        try
        {
            if (await source.NextAsync(ct) is not { } job)
                return false;
            await DoAsync(job, holder, ct);
            return true;
        }
        finally
        {
            await hosts.ReleaseAsync(holder, CancellationToken.None);
        }
    }

    private async Task DoAsync(NodeJobRow job, Guid holder, CancellationToken ct)
    {
        var progress = new Latest();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var renewing = RenewAsync(job, holder, progress, stop);
        try
        {
            await work.DoAsync(job, progress, stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            if (ct.IsCancellationRequested)
                await jobs.GiveBackAsync(job, CancellationToken.None);
        }
        catch (Exception e)
        {
            LogJobFailed(job.Kind, job.Id, e.Message);
            var final = e is UnrepeatableException or ModelFormatException or CalibrationException or FileNotFoundException or NotSupportedException;
            await jobs.FailAsync(job, e.Message, final, Backoff.After(job.Attempts, RetryFirst, RetryLongest, 0), CancellationToken.None);
        }
        finally
        {
            await stop.CancelAsync();
            await renewing;
        }
    }

    /// <summary>Renews claim and host until the work ends; cancels the work when the claim is lost.</summary>
    private async Task RenewAsync(NodeJobRow job, Guid holder, Latest progress, CancellationTokenSource stop)
    {
        try
        {
            while (true)
            {
                await Task.Delay(options.Lease / 3, stop.Token);
                if (node.BootId is { } boot)
                    await hosts.TakeAsync(boot, holder, HostUse.Worker, $"packing and scoring on {node.Name}", stop.Token);
                if (!await jobs.RenewAsync(job, progress.Value, stop.Token))
                    await stop.CancelAsync();
            }
        }
        catch (OperationCanceledException)
        {
            // The work has ended.
        }
        catch (Exception e)
        {
            // Without the database the claim runs out: stop, another node goes on.
            LogFailed(e.Message);
            await stop.CancelAsync();
        }
    }

    [LoggerMessage(LogLevel.Warning, "A worker of this node goes on after: {Reason}")]
    private partial void LogFailed(string reason);

    [LoggerMessage(LogLevel.Warning, "The {Kind} job {Id} failed: {Reason}")]
    private partial void LogJobFailed(string kind, Guid id, string reason);

    private sealed class Latest : IProgress<double>
    {
        private double _value;

        public double Value => Volatile.Read(ref _value);

        public void Report(double value)
        {
            if (value > Volatile.Read(ref _value))
                Volatile.Write(ref _value, value);
        }
    }
}
