using System.Security.Cryptography;
using AgileQuant.Agent;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>What an attempt left on its board: blocks with samples, and NLL files already on this machine.</summary>
/// <param name="Status">done, failed, stopped or lost.</param>
/// <param name="Blocks">Finished and failed blocks.</param>
/// <param name="NllFiles">By block: local file, windows and targets.</param>
/// <param name="Isa">Kernel set that ran.</param>
/// <param name="Error">The first error that concerns no block; null: none.</param>
/// <param name="Throttled">The board reported throttling while it ran.</param>
public sealed record AttemptOutcome(
    string Status, IReadOnlyList<StagedBlock> Blocks, IReadOnlyDictionary<int, NllFile> NllFiles, string? Isa, string? Error,
    bool Throttled = false)
{
    /// <summary>From result.json and the journal (for the errors' words).</summary>
    public static async Task<AttemptOutcome> FromResultAsync(CollectedResult collected, CancellationToken ct)
    {
        var events = ReadJournal(await File.ReadAllBytesAsync(collected.JournalPath, ct));
        var errors = JournalErrors.From(events);
        var blocks = collected.Result.Blocks.Where(b => b.State is "done" or "failed").Select(b => new StagedBlock(
            b.Block, State(b.State, b.Block, errors),
            b.State == "failed" ? errors.Of(b.Block) ?? "the engine gave no reason" : null,
            (int?)b.Tokens, b.LoadMs, b.PeakRss, Samples(b.Ns), Samples(b.WarmupNs), b.RowShare)).ToList();
        var nlls = collected.Result.Blocks
            .Where(b => b.State == "done" && collected.NllFiles.ContainsKey(b.Block))
            .ToDictionary(b => b.Block, b => new NllFile(
                collected.NllFiles[b.Block], b.Windows ?? 0, b.Targets ?? 0, collected.SurvivorFiles.GetValueOrDefault(b.Block)));
        return new AttemptOutcome(collected.Result.Status, blocks, nlls, collected.Result.Isa, errors.Of(null), events.Any(TelemetryReading.IsThrottled));
    }

    /// <summary>From the journal alone, of an engine that was killed: every block that it had finished.</summary>
    public static AttemptOutcome FromJournal(IReadOnlyList<EngineEvent> events)
    {
        var errors = JournalErrors.From(events);
        var blocks = new List<StagedBlock>();
        foreach (var done in events.OfType<BlockEvent>().Where(b => b.State is "done" or "failed"))
        {
            // A block that started twice in one journal does not happen; the last outcome counts all the same.
            blocks.RemoveAll(b => b.Index == done.Block);
            var samples = events.OfType<SampleEvent>().Where(s => s.Block == done.Block).OrderBy(s => s.Index).ToList();
            blocks.Add(new StagedBlock(
                done.Block, State(done.State, done.Block, errors), done.State == "failed" ? errors.Of(done.Block) ?? "the engine gave no reason" : null,
                (int?)samples.FirstOrDefault()?.Tokens, events.OfType<BlockEvent>().FirstOrDefault(b => b.Block == done.Block && b.State == "started")?.LoadMs,
                done.PeakRss, [.. samples.Select(s => s.Ns)],
                [.. events.OfType<WarmupEvent>().Where(w => w.Block == done.Block).OrderBy(w => w.Index).Select(w => w.Ns)], done.RowShare));
        }

        return new AttemptOutcome(
            "lost", blocks, new Dictionary<int, NllFile>(), events.OfType<JobEvent>().FirstOrDefault()?.Isa, errors.Of(null),
            events.Any(TelemetryReading.IsThrottled));
    }

    /// <summary>Finished perplexity blocks of a journal, with the number of their windows and targets.</summary>
    public static IEnumerable<(BlockEvent Done, int Windows, int Targets)> ScoredBlocksOf(IReadOnlyList<EngineEvent> events)
    {
        foreach (var done in events.OfType<BlockEvent>().Where(b => b is { State: "done", NllFile: not null, NllSha256: not null }))
        {
            var windows = events.OfType<WindowEvent>().Where(w => w.Block == done.Block).ToList();
            if (windows.Count > 0)
                yield return (done, windows.Count, windows[0].Targets);
        }
    }

    /// <summary>A block that does not fit the board's memory never will: impossible instead of failed.</summary>
    private static string State(string state, int block, JournalErrors errors) =>
        state == "failed" && errors.IsOutOfMemory(block) ? "impossible" : state;

    /// <summary>A perplexity block has no warm-up, which the engine writes as null.</summary>
    private static IReadOnlyList<long> Samples(IReadOnlyList<long>? values) => values ?? [];

    public static List<EngineEvent> ReadJournal(byte[] bytes) => [.. new JournalReader().Append(bytes).Select(e => e.Event)];

    /// <summary>Checks a file that came from a board.</summary>
    public static async Task<bool> HasHashAsync(string path, string sha256, CancellationToken ct)
    {
        await using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, ct)) == sha256;
    }
}

/// <summary>An NLL file on this machine: float32 <c>[windows][targets]</c>.</summary>
/// <param name="SurvivorsPath">Of a pruned pack: bytes <c>[windows][targets]</c>, 1 where the predicting position stayed; else null.</param>
public sealed record NllFile(string Path, int Windows, int Targets, string? SurvivorsPath = null);

/// <summary>The errors of a journal, by block.</summary>
internal sealed class JournalErrors
{
    private readonly List<ErrorEvent> _errors;

    private JournalErrors(List<ErrorEvent> errors) => _errors = errors;

    public static JournalErrors From(IReadOnlyList<EngineEvent> events) => new([.. events.OfType<ErrorEvent>()]);

    public string? Of(int? block) => _errors.FirstOrDefault(e => e.Block == block) is { } e ? $"{e.Message} ({e.Code})" : null;

    public bool IsOutOfMemory(int block) => _errors.Any(e => e.Block == block && e.Code == EngineErrorCodes.Memory);
}
