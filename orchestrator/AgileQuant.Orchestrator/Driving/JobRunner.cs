using AgileQuant.Agent;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>Brings one job onto the board: what can run, artifacts, gate, attempt row, start. <see cref="AttemptFollower"/> does the rest.</summary>
public sealed class JobRunner(DriverServices services, DeviceLease lease, BoardSession session, AttemptFollower follower, ILogger logger)
{
    /// <summary>Runs the job, or records why it cannot run. Afterwards the device may take the next one.</summary>
    public async Task RunAsync(DeviceRow device, JobRow job, CancellationToken ct)
    {
        var facts = device.FactsView ?? throw new BoardUnfitException("it was never probed: bench device check " + device.Name);
        if (job.Attempts >= job.MaxAttempts)
        {
            await services.Jobs.EndAsync(lease, job.Id, "failed", $"{job.Attempts} attempts failed", ct);
            return;
        }

        var tokens = await TokensAsync(job, ct);
        if (job.TokenFileId is not null && tokens is null)
            return;
        var todo = await RunnableAsync(job, facts, device.SelfTestView?.Precisions, ct);
        if (todo.Count == 0)
            return;
        var engine = await services.Assets.CurrentEngineAsync(facts.Target, ct) ?? throw new BoardUnfitException($"there is no engine for {facts.Target}");
        if (await PushAsync(job, engine.Sha256, todo, tokens?.Sha256, ct))
            await StartAsync(device, facts, job, engine, todo, tokens, ct);
    }

    /// <summary>The token file; null when the job was ended because there is none.</summary>
    private async Task<(string Sha256, long Ids)?> TokensAsync(JobRow job, CancellationToken ct)
    {
        if (job.TokenFileId is not { } id)
            return null;
        var file = await services.Assets.TokenFileAsync(id, ct);
        if (file?.Sha256 is null)
        {
            await services.Jobs.EndAsync(lease, job.Id, "failed", "the evaluation text could not be tokenized for this model", ct);
            return null;
        }

        if (EnginePlan.Windows(job.SettingsValue, file.Ids ?? 0) > 0)
            return (file.Sha256, file.Ids ?? 0);
        var reason = $"the text has {file.Ids} tokens, less than one window of {job.SettingsValue.Convention}";
        await services.Jobs.EndAsync(lease, job.Id, "failed", reason, ct);
        return null;
    }

    /// <summary>
    /// Blocks that can run here. What the CPU has no kernel for is skipped, what cannot be had or does not fit is impossible; the job
    /// ends when nothing is left.
    /// </summary>
    private async Task<List<BlockRow>> RunnableAsync(JobRow job, DeviceFactsView facts, IReadOnlyList<string>? kernels, CancellationToken ct)
    {
        var model = await services.Assets.ModelAsync(job.ModelId, ct) ?? throw new InvalidOperationException("the job's model is gone");
        var shape = model.Shape;
        var context = EnginePlan.Context(job.SettingsValue, job.IsTiming);
        var todo = new List<BlockRow>();
        var impossible = false;
        foreach (var group in (await services.Jobs.BlocksAsync(job.Id, ct)).Where(b => b.State == "planned").GroupBy(b => b.Precision))
        {
            if (PrecisionNames.WhyNot(group.Key, kernels) is { } missing)
            {
                await services.Jobs.SkipAsync(lease, job.Id, group.Key, missing, ct);
                continue;
            }

            var pack = group.First();
            var problem = pack.PackSha256 is null
                ? $"packing failed: {pack.PackReason ?? "no reason given"}"
                : MemoryFit.Problem(group.Key, MemoryFit.Needed(pack.PackBytes ?? 0, shape, context, Math.Min(512, context)), facts.MemoryBytes);
            impossible |= problem is not null;
            if (problem is null)
                todo.AddRange(group);
            else
                await services.Jobs.MarkImpossibleAsync(lease, job.Id, group.Key, problem, ct);
        }

        if (todo.Count == 0 && impossible)
            await services.Jobs.EndAsync(lease, job.Id, "failed", "nothing of it can run on this device", ct);
        else if (todo.Count == 0)
            await services.Jobs.EndAsync(lease, job.Id, "done", null, ct);
        return [.. todo.OrderBy(b => b.Index)];
    }

    /// <summary>False: something could not be stored on the board; the job was put off, or has failed.</summary>
    private async Task<bool> PushAsync(JobRow job, string engine, List<BlockRow> todo, string? tokens, CancellationToken ct)
    {
        try
        {
            await services.Devices.SetStateAsync(lease, DeviceState.Busy, "copying files to the board", ct);
            await session.PushAsync(engine, executable: true, ct);
            foreach (var artifact in todo.Select(b => b.PackSha256).Append(tokens).OfType<string>().Distinct())
                await session.PushAsync(artifact, executable: false, ct);
            return true;
        }
        catch (Exception e) when (e is BoardStoreException or FileNotFoundException)
        {
            // A pack or token file that has gone from the store is made again; the job waits for it, within its attempts.
            if (e is FileNotFoundException { FileName: { } missing })
                await services.NodeJobs.RemakeAsync(missing, ct);
            await services.Jobs.FailStartAsync(lease, job.Id, e.Message, Backoff.After(job.Attempts + 1, services.Options.RetryFirst, services.Options.RetryMax, 0), ct);
            return false;
        }
    }

    private async Task StartAsync(
        DeviceRow device, DeviceFactsView facts, JobRow job, EngineRow engine, List<BlockRow> todo, (string Sha256, long Ids)? tokens, CancellationToken ct)
    {
        var attempt = Guid.CreateVersion7();
        var gate = new BoardGate(services, lease, session, engine.Sha256);
        var passed = await gate.PassAsync(device, job, attempt, ct);
        if (!passed.Start)
            return;
        try
        {
            var plan = EnginePlan.For(attempt, job.SettingsValue, todo, facts.Cores.Count, tokens);
            var started = new NewAttempt(
                attempt, job.Id, plan.ToText(), engine.Sha256, engine.Version, facts.Fingerprint, facts.Kernel, passed.BootId,
                session.Transport, passed.Record is null ? null : Json.Write(passed.Record));
            await services.Attempts.StartAsync(lease, started, ct);
            await services.Devices.SetStateAsync(lease, DeviceState.Busy, null, ct);
            if (await new AttemptLauncher(services, lease, session, logger).LaunchAsync(device.Name, job, attempt, engine.Sha256, plan.ToText(), ct))
                await follower.FollowAsync((await services.Attempts.LiveAsync(device.Id, ct))!, ct);
        }
        finally
        {
            // The host belongs to the attempt: one that goes on without us keeps it until it is ended or the time to live is over.
            if (await services.Attempts.LiveAsync(device.Id, CancellationToken.None) is null)
                await services.Hosts.ReleaseAsync(attempt, CancellationToken.None);
        }
    }
}
