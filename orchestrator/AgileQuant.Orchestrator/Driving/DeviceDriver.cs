using System.Diagnostics;
using AgileQuant.Agent;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>
/// Drives one device under one lease: reconciles it to what its row wishes, then does its jobs one at a time. Keeps nothing
/// that matters in memory: a driver on another node goes on from the rows and from the board.
/// </summary>
public sealed partial class DeviceDriver(DriverServices services, DeviceLease lease, ILogger logger)
{
    private static readonly TimeSpan StopWait = TimeSpan.FromSeconds(10);
    private bool _swept;

    /// <summary>Ends when there is nothing to do for a while, when the board cannot be driven now, or on cancellation.</summary>
    /// <exception cref="LeaseLostException">Another driver has the device.</exception>
    public async Task RunAsync(CancellationToken ct)
    {
        var device = await services.Devices.ReadOwnedAsync(lease, ct);
        await using var session = new BoardSession(services.Shells, services.Fetcher, device, services.Options);
        try
        {
            await DriveAsync(session, ct);
        }
        catch (BoardUnfitException e)
        {
            await services.Devices.FailedAsync(lease, DeviceState.Bad, e.Message, services.Options.RetryMax, device.CheckRequested, ct);
        }
        catch (HostKeyChangedException e)
        {
            LogUnfit(device.Name, e.Message);
            if (await AbandonAsync(device.Id, e, ct))
                return;
            await services.Devices.QuarantineAsync(device.Id, e.Message, ct);
            await services.Devices.CheckedAsync(lease, device.CheckRequested, null, DeviceState.Bad, e.Message, ct);
            await services.Devices.FailedAsync(lease, DeviceState.Bad, e.Message, services.Options.RetryMax, device.CheckRequested, ct);
        }
        catch (Exception e) when (e is RemoteShellException or ProtocolException)
        {
            LogUnfit(device.Name, e.Message);
            if (await AbandonAsync(device.Id, e, ct))
                return;
            var failures = (await services.Devices.ReadOwnedAsync(lease, ct)).Failures + 1;
            var wait = Backoff.After(failures, services.Options.RetryFirst, services.Options.RetryMax, Random.Shared.NextDouble());
            await services.Devices.FailedAsync(lease, DeviceState.Offline, e.Message, wait, device.CheckRequested, ct);
        }
        catch (Exception e) when (e is not (LeaseLostException or OperationCanceledException or Npgsql.NpgsqlException))
        {
            // A defect of ours: say so on the device, and try again with growing pauses instead of spinning.
            LogDefect(e, device.Name);
            var row = await services.Devices.ReadOwnedAsync(lease, ct);
            var wait = Backoff.After(row.Failures + 1, services.Options.RetryFirst, services.Options.RetryMax, Random.Shared.NextDouble());
            await services.Devices.FailedAsync(lease, row.StateValue, $"internal error, tried again soon: {e.Message}", wait, device.CheckRequested, ct);
        }
    }

    /// <summary>
    /// The board is away: an attempt that nobody wants any more, or that was waited for too long, is ended without it, and a
    /// device that was removed is retired. One that presents another host key is not the board we knew: its attempt is lost.
    /// What may still run there is found and stopped when the board is back. True: the device is retired.
    /// </summary>
    private async Task<bool> AbandonAsync(Guid deviceId, Exception problem, CancellationToken ct)
    {
        var device = await services.Devices.ReadOwnedAsync(lease, ct);
        var removed = device.DesiredState == "retired";
        if (await services.Attempts.LiveAsync(deviceId, ct) is { } attempt)
        {
            var cancelled = removed || (problem is not EngineRunsException && await services.Jobs.FindAsync(attempt.JobId, ct) is { CancelRequested: true });
            var away = DateTimeOffset.UtcNow - (device.LastSeenAt ?? device.CreatedAt);
            if (cancelled)
                await services.Attempts.AcceptAsync(lease, attempt.Id, "stopped", "no longer wanted, and the board cannot be reached", TimeSpan.Zero, ct);
            else if (problem is HostKeyChangedException)
                await services.Attempts.AcceptAsync(lease, attempt.Id, "lost", problem.Message, services.Options.RetryMax, ct);
            else if (away > services.Options.OfflineJobWait)
                await services.Attempts.AcceptAsync(lease, attempt.Id, "lost", $"the board was offline for {away.TotalHours:0.#} h: {problem.Message}", services.Options.RetryMax, ct);
        }

        if (removed)
            await services.Devices.SetStateAsync(lease, DeviceState.Retired, "removed while it could not be reached", ct);
        return removed;
    }

    private async Task DriveAsync(BoardSession session, CancellationToken ct)
    {
        var idle = Stopwatch.StartNew();
        while (!ct.IsCancellationRequested)
        {
            var device = await services.Devices.ReadOwnedAsync(lease, ct);
            if (await StepAsync(session, device, ct) is not { } goOn)
                return;
            if (goOn)
                idle.Restart();
            else if (idle.Elapsed > services.Options.IdleLinger)
                return;
            else
                await services.Wake.WaitAsync(services.Options.PollInterval, ct);
        }
    }

    /// <summary>Does the most urgent thing. True: did something; false: nothing to do; null: this driver is done.</summary>
    private async Task<bool?> StepAsync(BoardSession session, DeviceRow device, CancellationToken ct)
    {
        var follower = new AttemptFollower(services, lease, session, logger);
        if (await services.Attempts.LiveAsync(device.Id, ct) is { } attempt)
        {
            await follower.ResumeAsync(attempt, ct);
            return true;
        }

        if (!_swept && device.EngineSha256 is { } known && device.State != "bad")
            await SweepAsync(session, device.Id, known, ct);

        if (device.DesiredState == "retired")
        {
            await services.Devices.SetStateAsync(lease, DeviceState.Retired, "removed", ct);
            return null;
        }

        if (device.Quarantine is { } quarantine)
        {
            await services.Devices.CheckedAsync(lease, device.CheckDone, null, DeviceState.Bad, quarantine, ct);
            return null;
        }

        if (await NeedsCheckAsync(device, ct))
        {
            await new DeviceChecker(services, lease, session).CheckAsync(device, ct);
            return true;
        }

        if (device.State == "bad")
            return null;
        if (await services.Jobs.NextAsync(device.Id, ct) is { } job)
        {
            await new JobRunner(services, lease, session, follower, logger).RunAsync(device, job, ct);
            return true;
        }

        await RestAsync(session, device, ct);
        return false;
    }

    /// <summary>
    /// Once a driver: removes job folders of attempts that have ended (a driver died between acceptance and cleaning), and
    /// stops an engine of ours whose attempt has ended (it was abandoned while the board was away).
    /// </summary>
    private async Task SweepAsync(BoardSession session, Guid deviceId, string engineSha, CancellationToken ct)
    {
        _swept = true;
        var engine = await session.EngineAsync(engineSha, ct);
        EngineStatus status;
        try
        {
            status = await engine.StatusAsync(null, ct);
        }
        catch (RemoteCommandException)
        {
            return; // The engine is gone from the board: the next check brings it back.
        }

        var ended = (await services.Attempts.EndedAsync(deviceId, [.. status.Jobs.Select(j => j.Attempt).Where(a => Guid.TryParse(a, out _)).Select(Guid.Parse)], ct))
            .Select(a => a.ToString()).ToHashSet();
        foreach (var job in status.Jobs.Where(j => ended.Contains(j.Attempt)))
        {
            if (job.State == "running" && !await engine.StopAsync(job.Attempt, StopWait, ct))
                continue;
            await engine.CleanAsync(job.Attempt, ct);
        }
    }

    private async Task<bool> NeedsCheckAsync(DeviceRow device, CancellationToken ct)
    {
        if (device.CheckRequested > device.CheckDone || device.AdoptRequested || device.State is "registering" or "offline")
            return true;
        var engine = device.FactsView is { } facts ? await services.Assets.CurrentEngineAsync(facts.Target, ct) : null;
        return device.State != "bad" && engine is not null && engine.Sha256 != device.EngineSha256;
    }

    /// <summary>Nothing to do: shows ready, and makes sure now and then that the board still answers.</summary>
    private async Task RestAsync(BoardSession session, DeviceRow device, CancellationToken ct)
    {
        if (device.State is "busy" or "cooling" || (device.State == "ready" && device.StateReason is not null))
            await services.Devices.SetStateAsync(lease, DeviceState.Ready, null, ct);
        if (device.LastSeenAt is null || DateTimeOffset.UtcNow - device.LastSeenAt > services.Options.VisitInterval)
        {
            if (device.EngineSha256 is { } engine)
                await session.RetryAsync(async token => await (await session.EngineAsync(engine, token)).StatusAsync(null, token), ct);
            await services.Devices.SeenAsync(lease, ct);
        }
    }

    [LoggerMessage(LogLevel.Error, "The driver of {Device} failed")]
    private partial void LogDefect(Exception e, string device);

    [LoggerMessage(LogLevel.Warning, "{Device} cannot be driven now: {Reason}")]
    private partial void LogUnfit(string device, string reason);
}
