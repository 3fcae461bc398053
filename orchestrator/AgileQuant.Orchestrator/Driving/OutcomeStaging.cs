using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>A job's blocks and samples as they stand with a new attempt's outcome laid over what was accepted before.</summary>
/// <param name="Attempt">The attempt whose outcome it is.</param>
/// <param name="Telemetry">Of every attempt that gave a block.</param>
/// <param name="Gates">What the gates saw before this and earlier attempts of the job; none: perplexity.</param>
/// <param name="MaxMhz">The board's maximum clock, where it is known.</param>
public sealed record OutcomeInput(
    Guid Attempt, JobRow Job, IReadOnlyList<BlockRow> Blocks, IReadOnlyList<SampleRow> Samples, AttemptOutcome Outcome, int Threads,
    IReadOnlyList<TelemetryPoint> Telemetry, IReadOnlyDictionary<Guid, GateRecord> Gates, double? MaxMhz, IReadOnlyDictionary<Guid, Dictionary<int, float[]>> EarlierNlls, long TokenIds);

/// <summary>What the gate saw when a timing attempt started.</summary>
public sealed record GateRecord(GateReading Reading, GateReference Reference, string? Note);

/// <summary>Works out what an attempt's outcome comes to: blocks, windows and the results that are complete now. Pure but for reading NLL files.</summary>
public static class OutcomeStaging
{
    public static StagedOutcome Make(OutcomeInput input)
    {
        var precisions = input.Blocks.ToDictionary(b => b.Index, b => b.Precision);
        var worded = input with { Outcome = input.Outcome with { Blocks = [.. input.Outcome.Blocks.Select(b => Worded(b, precisions.GetValueOrDefault(b.Index)))] } };
        return input.Job.IsTiming ? Timing(worded) : Perplexity(worded);
    }

    /// <summary>The engine's words about memory, in those of <see cref="Domain.MemoryFit"/>.</summary>
    private static StagedBlock Worded(StagedBlock block, string? precision) => block.State == "impossible"
        ? block with { Reason = $"{(precision == PrecisionNames.Baseline ? "no baseline" : "does not fit")}: {block.Reason}" }
        : block;

    private static StagedOutcome Timing(OutcomeInput input)
    {
        var states = input.Blocks.ToDictionary(b => b.Index, b => (b.State, b.Reason));
        foreach (var b in input.Outcome.Blocks.Where(b => states.TryGetValue(b.Index, out var s) && s.State != "done"))
            states[b.Index] = (b.State, b.Reason);
        var blocks = TimedBlocks(input);
        var baseline = input.Blocks.Where(b => PrecisionNames.IsBaseline(b.Precision)).ToList();
        var impossible = baseline.Select(b => states[b.Index]).FirstOrDefault(s => s.State == "impossible");
        var hasBaseline = baseline.Count > 0 && baseline.All(b => states[b.Index].State == "done");
        var results = new List<StagedResult>();
        if (hasBaseline || impossible.State is not null)
        {
            foreach (var run in input.Blocks.GroupBy(b => (b.RunId, b.Precision)).Where(g => g.All(b => states[b.Index].State == "done")))
            {
                var speed = SpeedFigures.Of(
                    run.Key.Precision, blocks, hasBaseline ? null : impossible.Reason ?? "no baseline", input.Outcome.Isa ?? "unknown", input.Threads);
                results.Add(new StagedResult(run.Key.RunId, "speed", Json.Write(speed), Json.Write(Grade(run.Key.Precision, blocks, input))));
            }
        }

        return new StagedOutcome(input.Outcome.Blocks, [], results);
    }

    private static List<TimedBlock> TimedBlocks(OutcomeInput input)
    {
        var samples = input.Samples.Where(s => !s.Warmup).ToLookup(s => s.Block, s => s.Ns);
        var fresh = input.Outcome.Blocks.Where(b => b.State == "done").ToDictionary(b => b.Index);
        var settings = input.Job.SettingsValue;
        return [.. input.Blocks
            .Where(b => b.State == "done" || fresh.ContainsKey(b.Index))
            .Select(b => new TimedBlock(
                b.Index, b.Round, b.Precision, b.Kind,
                (b.State == "done" ? b.Tokens : fresh[b.Index].Tokens) ?? (b.Kind == "prefill" ? settings.Prompt : settings.Generate) ?? 0,
                b.State == "done" ? [.. samples[b.Index]] : fresh[b.Index].Ns,
                b.State == "done" ? b.PeakRss : fresh[b.Index].PeakRss,
                b.State == "done" ? b.AttemptId ?? Guid.Empty : input.Attempt,
                b.State == "done" ? b.RowShare : fresh[b.Index].RowShare))];
    }

    private static GradeView Grade(string precision, List<TimedBlock> blocks, OutcomeInput input)
    {
        var rates = blocks.Where(b => b.Precision == precision).GroupBy(b => b.Kind)
            .Select(g => g.OrderBy(b => b.Index).SelectMany(b => b.Rates).ToList()).Where(r => r.Count > 0).ToList();
        var clocks = input.Telemetry.Where(t => t.MeanMhz is not null && t.Busy is null or > 0.1).Select(t => t.MeanMhz).OfType<double>().ToList();
        // The worst of all attempts that gave blocks: a hot or busy start of one of them is in the figure.
        var gates = blocks.Where(b => b.Precision == precision).Select(b => b.Attempt).Distinct()
            .Select(a => input.Gates.GetValueOrDefault(a)).OfType<GateRecord>().ToList();
        var notes = gates.Select(g => g.Note).OfType<string>().Distinct().ToList();
        return TrustGrade.Of(new GradeInput(
            rates.Select(r => SpeedFigures.MadPercent(r)).DefaultIfEmpty(0).Max(),
            rates.Select(TrustGrade.DriftPercent).OrderByDescending(Math.Abs).FirstOrDefault(),
            rates.Select(r => r.Count).DefaultIfEmpty(0).Min(),
            TrustGrade.ClockResidency(clocks, input.MaxMhz),
            input.Telemetry.Any(t => t.Celsius is not null) || gates.Any(g => g.Reading.Celsius is not null),
            gates.Max(g => g.Reading.Celsius - g.Reference.IdleCelsius), gates.Max(g => g.Reading.Busy), input.Outcome.Throttled,
            notes.Count == 0 ? null : string.Join("; ", notes)));
    }

    private static StagedOutcome Perplexity(OutcomeInput input)
    {
        var blocks = input.Blocks.ToDictionary(b => b.Index);
        var windows = new Dictionary<string, Scored>();
        foreach (var b in input.Blocks.Where(b => b.State == "done" && input.EarlierNlls.ContainsKey(b.RunId)))
            windows[b.Precision] = new Scored(b.RunId, [.. input.EarlierNlls[b.RunId].OrderBy(w => w.Key).Select(w => w.Value)], null);
        var staged = new List<StagedBlock>();
        foreach (var b in input.Outcome.Blocks)
        {
            if (b.State != "done")
            {
                staged.Add(b);
            }
            else if (input.Outcome.NllFiles.TryGetValue(b.Index, out var file) && blocks.TryGetValue(b.Index, out var row)
                && (file.SurvivorsPath is not null || !PrecisionNames.IsPruned(row.Precision)))
            {
                staged.Add(b);
                windows.TryAdd(row.Precision, Scored.Read(row.RunId, file));
            }
        }

        var fresh = staged.Where(b => b.State == "done").Select(b => blocks[b.Index].Precision).ToHashSet();
        var baseline = windows.TryGetValue(PrecisionNames.Baseline, out var fp16) ? fp16.Nlls : null;
        // A retry that brings the baseline also completes nothing else: earlier results keep the figures they were accepted with.
        var results = windows.Where(w => fresh.Contains(w.Key)).Select(w => new StagedResult(
            w.Value.Run, "perplexity", Json.Write(View(w.Key, w.Value, baseline, input)), null)).ToList();
        var rows = windows.Where(w => fresh.Contains(w.Key))
            .SelectMany(w => w.Value.Nlls.Select((nll, i) => new StagedWindow(w.Value.Run, i, nll, w.Value.Survivors?[i]))).ToList();
        return new StagedOutcome(staged, rows, results);
    }

    private static PerplexityView View(string precision, Scored scored, IReadOnlyList<float[]>? baseline, OutcomeInput input)
    {
        var nlls = scored.Nlls;
        var settings = input.Job.SettingsValue;
        var convention = Engine.PerplexityConvention.Parse(settings.Convention!);
        var ppl = PerplexityFigures.Perplexity(nlls);
        baseline = baseline?.Count == nlls.Count ? baseline : null;
        var delta = PrecisionNames.IsBaseline(precision) || baseline is null ? null : PerplexityFigures.DeltaPercent(nlls, baseline);
        var all = nlls.Count == convention.WindowCount(input.TokenIds);
        return new PerplexityView(
            PerplexityFigures.Name(settings.Convention!, nlls.Count, all), ppl.Value, ppl.StandardError, delta?.Value, delta?.StandardError, null, null,
            scored.Survivors is { } masks ? PerplexityFigures.OnSurvivors(nlls, masks, baseline, convention.Kind == "gptq") : null);
    }

    /// <summary>The windows of one run, with their masks when its pack prunes.</summary>
    private sealed record Scored(Guid Run, IReadOnlyList<float[]> Nlls, IReadOnlyList<byte[]>? Survivors)
    {
        public static Scored Read(Guid run, NllFile file) => new(
            run, FloatBytes.ReadWindows(file.Path, file.Windows, file.Targets),
            file.SurvivorsPath is { } path ? SurvivorBytes.ReadWindows(path, file.Windows, file.Targets) : null);
    }
}
