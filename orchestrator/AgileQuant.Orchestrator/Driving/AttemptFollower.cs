using System.Diagnostics;
using AgileQuant.Agent;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>Follows a running attempt to its end, brings its results home, has them accepted, and only then cleans the board.</summary>
public sealed partial class AttemptFollower(DriverServices services, DeviceLease lease, BoardSession session, ILogger logger)
{
    private static readonly TimeSpan FollowSlice = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan FlushInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan StopWait = TimeSpan.FromSeconds(15);

    /// <summary>A break of the connection is mended this often in a row before the device counts as offline (and its job goes on alone).</summary>
    private const int MaxReconnects = 4;

    /// <summary>Results that cannot be brought home or read this often make the attempt fail.</summary>
    private const int MaxCollects = 4;

    /// <summary>What a shell answers when the engine's file is not executable or not there.</summary>
    private const int ExitNotExecutable = 126, ExitNotFound = 127;

    /// <summary>A timing attempt that starts later than this after its gate says so in its grade.</summary>
    private static readonly TimeSpan GateAge = TimeSpan.FromMinutes(5);

    private readonly AttemptGates _gates = new(services, lease);
    private bool? _exclusive;

    private enum End
    {
        Ended,
        Lost,
        StopWanted,
    }

    /// <summary>
    /// Follows from the stored offset. Throws transient <see cref="RemoteShellException"/>s when the board stays away: the
    /// attempt's row stays live, and the next driver goes on here.
    /// </summary>
    public async Task FollowAsync(AttemptRow attempt, CancellationToken ct)
    {
        var job = await services.Jobs.FindAsync(attempt.JobId, ct) ?? throw new InvalidOperationException("the attempt's job is gone");
        var blocks = await services.Jobs.BlocksAsync(job.Id, ct);
        var windows = job.IsTiming ? 0 : await WindowsAsync(job, ct);
        var progress = new JobProgress(attempt.StartedAt, blocks.Count(b => b.State == "planned"), windows, attempt.Progress);
        var end = await FollowToEndAsync(attempt, job, progress, ct);
        if (end == End.StopWanted)
            await session.RetryAsync(token => StopAsync(attempt, token), ct);
        await FinishAsync(attempt, job, ct);
    }

    /// <summary>A live attempt found by a new driver: re-attach, collect, or mark it lost.</summary>
    public async Task ResumeAsync(AttemptRow attempt, CancellationToken ct)
    {
        LogResume(attempt.Id, attempt.JournalOffset);
        var job = await services.Jobs.FindAsync(attempt.JobId, ct) ?? throw new InvalidOperationException("the attempt's job is gone");
        if (await StatusAsync(attempt, job, ct) is not { } status)
            return;
        var state = status.Jobs.FirstOrDefault(j => j.Attempt == attempt.Id.ToString())?.State ?? "missing";
        if (status.Running != attempt.Id.ToString() && (state == "prepared" || (state == "missing" && attempt.State == "starting")))
        {
            await StartAgainAsync(attempt, job, ct);
            return;
        }

        await services.Attempts.RunningAsync(lease, attempt.Id, ct);
        if (status.Running == attempt.Id.ToString())
        {
            await TakeHostAsync(attempt, job, ct);
            await services.Devices.SetStateAsync(lease, DeviceState.Busy, null, ct);
            await FollowAsync(attempt, ct);
            return;
        }

        await FinishAsync(attempt, job, ct);
    }

    /// <summary>
    /// What the board says about the attempt. An engine that is gone from the board's store is pushed again; what fails in other
    /// ways than the connection is tried a few times in all, then the attempt is lost (null).
    /// </summary>
    private async Task<EngineStatus?> StatusAsync(AttemptRow attempt, JobRow job, CancellationToken ct)
    {
        Task<EngineStatus> AskAsync() => session.RetryAsync(
            async token => await (await session.EngineAsync(attempt.EngineSha256, token)).StatusAsync(attempt.Id.ToString(), token), ct);
        try
        {
            try
            {
                return await AskAsync();
            }
            catch (RemoteCommandException e) when (e.ExitCode is ExitNotExecutable or ExitNotFound)
            {
                await session.PushAsync(attempt.EngineSha256, executable: true, ct);
                return await AskAsync();
            }
        }
        catch (Exception e) when (e is RemoteCommandException or BoardStoreException or ProtocolException or FileNotFoundException)
        {
            if (attempt.CollectFailures + 1 < MaxCollects)
            {
                await services.Attempts.CollectFailedAsync(lease, attempt.Id, ct);
                throw;
            }

            await services.Attempts.AcceptAsync(lease, attempt.Id, "lost", $"the board cannot say what became of it: {e.Message}", RetryWait(job), ct);
            return null;
        }
    }

    /// <summary>The connection broke before the engine ran: the same attempt is started again, unless nobody wants it any more.</summary>
    private async Task StartAgainAsync(AttemptRow attempt, JobRow job, CancellationToken ct)
    {
        if (await StopWantedAsync(job, ct))
        {
            await services.Attempts.AcceptAsync(lease, attempt.Id, "stopped", "stopped before it started", TimeSpan.Zero, ct);
            await CleanAsync(attempt, ct);
            return;
        }

        var device = await services.Devices.ReadOwnedAsync(lease, ct);
        await TakeHostAsync(attempt, job, ct);
        var late = DateTimeOffset.UtcNow - attempt.StartedAt;
        if (job.IsTiming && late > GateAge)
            await _gates.NoteAsync(attempt.Id, $"it started {late.TotalMinutes:0} min after the board was found cool and quiet", ct);
        await services.Devices.SetStateAsync(lease, DeviceState.Busy, null, ct);
        if (await new AttemptLauncher(services, lease, session, logger).LaunchAsync(device.Name, job, attempt.Id, attempt.EngineSha256, attempt.Plan, ct))
            await FollowAsync(attempt, ct);
    }

    private async Task StopAsync(AttemptRow attempt, CancellationToken ct)
    {
        var engine = await session.EngineAsync(attempt.EngineSha256, ct);
        if (!await engine.StopAsync(attempt.Id.ToString(), StopWait, ct))
            throw new EngineRunsException($"the engine of attempt {attempt.Id} does not stop on {session.Address}; tried again soon");
    }

    /// <summary>Takes or renews the attempt's host. Where a timing attempt has lost it to others, its grade says so.</summary>
    private async Task TakeHostAsync(AttemptRow attempt, JobRow job, CancellationToken ct)
    {
        if (attempt.BootId is not { } boot)
            return;
        _exclusive ??= job.IsTiming && (await services.Devices.ReadOwnedAsync(lease, ct)).KindValue == DeviceKind.Real;
        if (!await services.Hosts.TakeAsync(boot, attempt.Id, _exclusive.Value ? HostUse.Exclusive : HostUse.Shared, $"{job.Kind} of attempt {attempt.Number}", ct) && _exclusive.Value)
            await _gates.NoteAsync(attempt.Id, "its host was used by others while it ran", ct);
    }

    private async Task<int> WindowsAsync(JobRow job, CancellationToken ct) =>
        job.TokenFileId is { } id && await services.Assets.TokenFileAsync(id, ct) is { Ids: { } ids }
            ? Packing.EnginePlan.Windows(job.SettingsValue, ids)
            : 0;

    private async Task<End> FollowToEndAsync(AttemptRow attempt, JobRow job, JobProgress progress, CancellationToken ct)
    {
        var position = new Position(attempt.JournalOffset);
        var breaks = 0;
        while (true)
        {
            try
            {
                var before = position.Offset;
                var result = await FollowSliceAsync(attempt, job, progress, position, ct);
                breaks = position.Offset > before ? 0 : breaks;
                if (result is { } end)
                    return end;
            }
            catch (RemoteShellException e) when (e.IsTransient && ++breaks <= MaxReconnects)
            {
                LogBroken(attempt.Id, breaks, e.Message);
                await services.Devices.SetStateAsync(lease, DeviceState.Busy, "connection lost, the engine goes on; connecting again", ct);
                await Task.Delay(Backoff.After(breaks, services.Options.RetryFirst, services.Options.RetryMax, Random.Shared.NextDouble()), ct);
            }
        }
    }

    private async Task<End?> FollowSliceAsync(AttemptRow attempt, JobRow job, JobProgress progress, Position position, CancellationToken ct)
    {
        var engine = await session.EngineAsync(attempt.EngineSha256, ct);
        var flushed = Stopwatch.StartNew();
        await foreach (var item in engine.FollowAsync(attempt.Id.ToString(), position.Offset, FollowSlice, ct))
        {
            if (item is FollowItem.Line line)
                progress.Apply(line.Event);
            position.Offset = item.NextOffset;
            var finished = item as FollowItem.Finished;
            if (finished is null && !progress.IsDue && flushed.Elapsed < FlushInterval)
                continue;
            flushed.Restart();
            await FlushAsync(attempt, job, progress, position, ct);
            if (finished?.Result == FollowResult.Ended)
                return End.Ended;
            if (finished?.Result == FollowResult.Lost)
                return End.Lost;
            if (await StopWantedAsync(job, ct))
                return End.StopWanted;
        }

        return null;
    }

    /// <summary>Writes offset, progress and telemetry; renews the host.</summary>
    private async Task FlushAsync(AttemptRow attempt, JobRow job, JobProgress progress, Position position, CancellationToken ct)
    {
        await services.Attempts.ProgressAsync(lease, attempt.Id, position.Offset, progress.Value, progress.TakePoints(), ct);
        if (progress.Job is { } description && !position.Described)
        {
            position.Described = true;
            await services.Attempts.DescribeAsync(lease, attempt.Id, description.Engine, description.Build, description.Isa, description.BootId, ct);
        }

        await TakeHostAsync(attempt, job, ct);
    }

    private async Task<bool> StopWantedAsync(JobRow job, CancellationToken ct) =>
        await services.Jobs.FindAsync(job.Id, ct) is { CancelRequested: true }
        || (await services.Devices.ReadOwnedAsync(lease, ct)).DesiredState == "retired";

    /// <summary>Collects, stages, accepts, cleans: in this order, each repeatable. Results that never make sense fail the attempt.</summary>
    private async Task FinishAsync(AttemptRow attempt, JobRow job, CancellationToken ct)
    {
        var wait = RetryWait(job);
        try
        {
            await BringHomeAsync(attempt, job, wait, ct);
        }
        catch (Exception e) when (e is ProtocolException or InvalidDataException or RemoteCommandException)
        {
            if (attempt.CollectFailures + 1 < MaxCollects)
            {
                await services.Attempts.CollectFailedAsync(lease, attempt.Id, ct);
                throw;
            }

            await services.Attempts.AcceptAsync(lease, attempt.Id, "failed", $"its results cannot be used: {e.Message}", wait, ct);
        }

        await CleanAsync(attempt, ct);
    }

    private TimeSpan RetryWait(JobRow job) => Backoff.After(job.Attempts, services.Options.RetryFirst, services.Options.RetryMax, Random.Shared.NextDouble());

    private async Task BringHomeAsync(AttemptRow attempt, JobRow job, TimeSpan wait, CancellationToken ct)
    {
        var folder = services.Artifacts.NewScratchFolder($"collect-{attempt.Id}");
        try
        {
            var collector = new OutcomeCollector(session, attempt);
            var outcome = await session.RetryAsync(token => collector.CollectAsync(folder, token), ct);
            var staged = OutcomeStaging.Make(await InputAsync(attempt, job, outcome, ct));
            await services.Attempts.StageAsync(lease, attempt.Id, staged, ct);
            var (state, reason) = Ending(outcome, attempt);
            await services.Attempts.AcceptAsync(lease, attempt.Id, state, reason, wait, ct);
            LogEnded(attempt.Id, state, reason ?? "complete");
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static (string State, string? Reason) Ending(AttemptOutcome outcome, AttemptRow attempt) => outcome.Status switch
    {
        "done" => ("done", outcome.Blocks.FirstOrDefault(b => b.State == "failed")?.Reason),
        "stopped" => ("stopped", "stopped on request"),
        "failed" => ("failed", outcome.Error ?? outcome.Blocks.FirstOrDefault(b => b.State == "failed")?.Reason ?? "the engine failed without a reason"),
        _ => ("lost", $"the engine of attempt {attempt.Number} ended without a result: it was killed, or the board rebooted"),
    };

    private async Task<OutcomeInput> InputAsync(AttemptRow attempt, JobRow job, AttemptOutcome outcome, CancellationToken ct)
    {
        var device = await services.Devices.ReadOwnedAsync(lease, ct);
        var blocks = await services.Jobs.BlocksAsync(job.Id, ct);
        var earlier = new Dictionary<Guid, Dictionary<int, float[]>>();
        foreach (var run in job.IsTiming ? [] : blocks.Where(b => b.State == "done").Select(b => b.RunId))
            earlier[run] = await services.Scores.RunWindowsAsync(run, ct);
        var ids = job.TokenFileId is { } tokens ? (await services.Assets.TokenFileAsync(tokens, ct))?.Ids ?? 0 : 0;
        var settings = job.SettingsValue;
        Guid[] attempts = [.. blocks.Where(b => b.State == "done").Select(b => b.AttemptId).OfType<Guid>().Append(attempt.Id).Distinct()];
        var clocks = device.FactsView?.Cores.Select(c => c.MaxMhz).OfType<double>().ToList() ?? [];
        return new OutcomeInput(
            attempt.Id, job, blocks, await services.Jobs.SamplesAsync(job.Id, ct), outcome,
            settings.Threads > 0 ? settings.Threads : device.FactsView?.Cores.Count ?? 1,
            await services.Telemetry.OfAttemptsAsync(attempts, 5000, ct), await _gates.ReadAsync(attempts, ct),
            clocks.Count == 0 ? null : clocks.Average(), earlier, ids);
    }

    /// <summary>What was accepted needs its folder no more. A failure here is only untidy.</summary>
    private async Task CleanAsync(AttemptRow attempt, CancellationToken ct)
    {
        try
        {
            await (await session.EngineAsync(attempt.EngineSha256, ct)).CleanAsync(attempt.Id.ToString(), ct);
        }
        catch (Exception e) when (e is RemoteShellException or InvalidOperationException)
        {
            LogNotCleaned(attempt.Id, e.Message);
        }
    }

    [LoggerMessage(LogLevel.Information, "Attempt {Attempt}: going on from journal offset {Offset}")]
    private partial void LogResume(Guid attempt, long offset);

    [LoggerMessage(LogLevel.Warning, "Attempt {Attempt}: connection lost ({Count}. time): {Reason}")]
    private partial void LogBroken(Guid attempt, int count, string reason);

    [LoggerMessage(LogLevel.Information, "Attempt {Attempt} ended: {State}, {Reason}")]
    private partial void LogEnded(Guid attempt, string state, string reason);

    [LoggerMessage(LogLevel.Warning, "Attempt {Attempt}: its folder stays on the board: {Reason}")]
    private partial void LogNotCleaned(Guid attempt, string reason);

    private sealed class Position(long offset)
    {
        public long Offset { get; set; } = offset;

        public bool Described { get; set; }
    }
}
