using System.Diagnostics;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>The gate's answer: start, and what it saw (null for perplexity); or do not start now.</summary>
public sealed record GatePass(bool Start, string? BootId, GateRecord? Record);

/// <summary>Waits in front of a job until its host is free and, for timing, until the board is cool and quiet.</summary>
public sealed class BoardGate(DriverServices services, DeviceLease lease, BoardSession session, string engineSha)
{
    private static readonly TimeSpan SampleTime = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    /// <summary>A wait for the host that takes longer gives the driver's loop a turn; the place in the queue is kept by asking again.</summary>
    private static readonly TimeSpan LongestHostWait = TimeSpan.FromMinutes(30);

    public async Task<GatePass> PassAsync(DeviceRow device, JobRow job, Guid attempt, CancellationToken ct)
    {
        var boot = (await StatusAsync(ct)).BootId ?? device.BootId;
        var use = job.IsTiming && device.KindValue == DeviceKind.Real ? HostUse.Exclusive : HostUse.Shared;
        if (boot is not null && !await TakeHostAsync(device, job, attempt, boot, use, ct))
            return new GatePass(false, boot, null);
        if (!job.IsTiming)
            return new GatePass(true, boot, null);
        var record = await CoolDownAsync(device, job, attempt, boot, use, ct);
        if (record is null)
            await services.Hosts.ReleaseAsync(attempt, CancellationToken.None);
        return new GatePass(record is not null, boot, record);
    }

    private async Task<Agent.Protocol.EngineStatus> StatusAsync(CancellationToken ct) =>
        await session.RetryAsync(async token => await (await session.EngineAsync(engineSha, token)).StatusAsync(null, token), ct);

    private async Task<bool> TakeHostAsync(DeviceRow device, JobRow job, Guid attempt, string boot, HostUse use, CancellationToken ct)
    {
        var what = $"{job.Kind} on {device.Name}";
        var waited = Stopwatch.StartNew();
        while (!await services.Hosts.TakeAsync(boot, attempt, use, what, ct))
        {
            if (await services.Hosts.BlockersAsync(boot, attempt, ct) is { } blockers)
            {
                await services.Devices.SetStateAsync(lease, DeviceState.Ready, "waits for its host: " + blockers, ct);
                await services.Jobs.ExplainAsync(lease, job.Id, "waits for its host: " + blockers, ct);
            }

            await services.Wake.WaitAsync(services.Options.PollInterval / 2, ct);
            if (ct.IsCancellationRequested || waited.Elapsed > LongestHostWait || !await StillWantedAsync(job, ct))
            {
                await services.Hosts.ReleaseAsync(attempt, CancellationToken.None);
                return false;
            }
        }

        await services.Jobs.ExplainAsync(lease, job.Id, null, ct);
        return true;
    }

    /// <summary>Null: no longer wanted.</summary>
    private async Task<GateRecord?> CoolDownAsync(DeviceRow device, JobRow job, Guid attempt, string? boot, HostUse use, CancellationToken ct)
    {
        var settings = job.SettingsValue;
        var reference = new GateReference(device.IdleCelsius, device.BestLoopNs);
        var timeout = TimeSpan.FromSeconds(settings.CoolDownTimeoutSeconds);
        var waited = Stopwatch.StartNew();
        while (true)
        {
            var reading = await ReadAsync(device, ct);
            var decision = Gate.Decide(reading, reference, settings.CoolDownMarginCelsius, waited.Elapsed, timeout);
            if (decision.Start)
            {
                await services.Devices.SetReferenceAsync(lease, reading.Celsius, reading.LoopNs, ct);
                return new GateRecord(reading, reference, decision.Reason);
            }

            await services.Devices.SetStateAsync(lease, DeviceState.Cooling, decision.Reason, ct);
            var left = timeout - waited.Elapsed;
            await Task.Delay(left < LongestPause && left > TimeSpan.Zero ? left : LongestPause, ct);
            if (boot is not null)
                await services.Hosts.TakeAsync(boot, attempt, use, $"{job.Kind} on {device.Name}", ct);
            if (!await StillWantedAsync(job, ct))
                return null;
        }
    }

    private async Task<GateReading> ReadAsync(DeviceRow device, CancellationToken ct)
    {
        var sample = await session.RetryAsync(
            async token => await (await session.EngineAsync(engineSha, token)).SampleAsync(SampleTime, loop: false, token), ct);
        var celsius = TelemetryReading.Hottest(sample);
        if (celsius is null)
        {
            var loop = await session.RetryAsync(
                async token => await (await session.EngineAsync(engineSha, token)).SampleAsync(SampleTime, loop: true, token), ct);
            sample = sample with { LoopNs = loop.LoopNs };
        }

        return new GateReading(
            celsius, sample.Busy, sample.LoopNs, TelemetryReading.MeanMhz(sample), sample.MemAvailable, device.FactsView?.Governor);
    }

    private async Task<bool> StillWantedAsync(JobRow job, CancellationToken ct) =>
        await services.Jobs.FindAsync(job.Id, ct) is { CancelRequested: false, State: "waiting" }
        && (await services.Devices.ReadOwnedAsync(lease, ct)).DesiredState == "active";
}
