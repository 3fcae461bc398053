using AgileQuant.Agent;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>Fetches what an attempt left: its result, or, when the engine was killed, the blocks that its journal proves.</summary>
internal sealed class OutcomeCollector(BoardSession session, AttemptRow attempt)
{
    private const long MaxJournalBytes = 256L << 20;

    public async Task<AttemptOutcome> CollectAsync(string folder, CancellationToken ct)
    {
        var engine = await session.EngineAsync(attempt.EngineSha256, ct);
        var status = await engine.StatusAsync(attempt.Id.ToString(), ct);
        var state = status.Jobs.FirstOrDefault(j => j.Attempt == attempt.Id.ToString())?.State;
        if (state == "running")
            throw new EngineRunsException($"the engine of attempt {attempt.Id} still runs on {session.Address}: its results are not complete");
        return state is "done" or "failed" or "stopped"
            ? await AttemptOutcome.FromResultAsync(await engine.CollectAsync(attempt.Id.ToString(), folder, ct), ct)
            : await FromJournalAsync(folder, ct);
    }

    private async Task<AttemptOutcome> FromJournalAsync(string folder, CancellationToken ct)
    {
        var shell = await session.ShellAsync(ct);
        var job = BoardPaths.In(shell).Job(attempt.Id.ToString());
        var journal = await FetchAsync(shell, job + "/events.jsonl", Path.Combine(folder, "events.jsonl"), ct);
        if (journal is null)
            return new AttemptOutcome("lost", [], new Dictionary<int, NllFile>(), null, null);
        var events = AttemptOutcome.ReadJournal(await File.ReadAllBytesAsync(journal, ct));
        var outcome = AttemptOutcome.FromJournal(events);
        var files = new Dictionary<int, NllFile>();
        foreach (var (done, windows, targets) in AttemptOutcome.ScoredBlocksOf(events))
        {
            var nll = await FetchVerifiedAsync(shell, job, done.NllFile, done.NllSha256, Path.Combine(folder, $"nll-{done.Block}.f32"), ct);
            var survivors = await FetchVerifiedAsync(
                shell, job, done.SurvivorsFile, done.SurvivorsSha256, Path.Combine(folder, $"survivors-{done.Block}.u8"), ct);
            if (nll is not null && (survivors is not null || done.SurvivorsFile is null))
                files[done.Block] = new NllFile(nll, windows, targets, survivors);
        }

        return outcome with { NllFiles = files };
    }

    /// <summary>Null: the file is not named, not there, or not what the journal says.</summary>
    private static async Task<string?> FetchVerifiedAsync(
        IRemoteShell shell, string job, string? name, string? sha256, string local, CancellationToken ct)
    {
        if (name is null || sha256 is null || !Names.IsWord(name))
            return null;
        var path = await FetchAsync(shell, $"{job}/{name}", local, ct);
        return path is not null && await AttemptOutcome.HasHashAsync(path, sha256, ct) ? path : null;
    }

    /// <summary>Null: the file is not there.</summary>
    private static async Task<string?> FetchAsync(IRemoteShell shell, string remote, string local, CancellationToken ct)
    {
        try
        {
            await using var file = File.Create(local);
            await shell.DownloadAsync(remote, file, 0, MaxJournalBytes, ct);
            return local;
        }
        catch (RemoteCommandException)
        {
            return null;
        }
    }
}
