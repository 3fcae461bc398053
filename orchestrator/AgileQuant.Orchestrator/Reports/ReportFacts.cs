using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>The parts of a report beside the table, as plain text: what ran it, grades, provenance.</summary>
internal static class ReportFacts
{
    public static string Title(ReportModel model) => $"Benchmark report: {model.Matrix.Summary.Name}";

    /// <summary>Name and value pairs about the whole matrix.</summary>
    public static IReadOnlyList<(string Name, string Value)> Head(ReportModel model)
    {
        var s = model.Matrix.Summary;
        var facts = new List<(string, string)>
        {
            ("Matrix", $"{s.Name} ({s.Id})"),
            ("State", $"{s.State.ToString().ToLowerInvariant()}: {s.Complete} of {s.Runs} runs complete, {s.Failed} without all results"
                + (s.Skipped > 0 ? $", {s.Skipped} skipped" : "")),
            ("Started", $"{Time(s.CreatedAt)} by {s.CreatedBy}"),
            ("Finished", s.FinishedAt is { } end ? Time(end) : "not yet"),
            ("Report made", Time(model.GeneratedAt)),
            ("Cluster", model.Status.ClusterId.ToString()),
            ("Orchestrator", $"AgileQuant.Bench {model.Status.Version}"),
            ("Ownership", model.Status.Ownership),
            ("Transport", model.Status.Transport),
        };
        foreach (var engine in model.Runs.Select(r => r.Provenance).Where(p => p.EngineSha256 is not null)
                     .DistinctBy(p => p.EngineSha256))
        {
            facts.Add(("Engine", $"{engine.EngineVersion} {engine.EngineBuild} sha256 {engine.EngineSha256}"));
        }

        return facts;
    }

    /// <summary>The policy and the workloads as they were asked for.</summary>
    public static IReadOnlyList<(string Name, string Value)> Method(ReportModel model)
    {
        var p = model.Matrix.Spec.Policy;
        var facts = new List<(string, string)>
        {
            ("Policy", $"{p.Rounds} rounds, {p.MinRepetitions} to {p.MaxRepetitions} repetitions a block until the 95% interval is within "
                + $"{p.TargetSpread:P0}, at most {p.WarmupMax} warm-ups, int4 groups of {p.GroupSize}, at most {p.MaxAttempts} attempts"),
            ("Gate", $"starts within {p.CoolDownMarginCelsius:0.#} °C of the device's idle temperature, waits at most {p.CoolDownTimeoutSeconds} s"),
        };
        if (model.Matrix.Spec.Calibration is { } calibration)
        {
            var used = model.Runs.Select(r => r.Provenance.Calibration).OfType<CalibrationView>().Select(c => c.Describe()).Distinct().ToList();
            facts.Add(("Calibration", used.Count == 0 ? $"{calibration}; no precision of these runs needed it" : $"{string.Join("; ", used)}: never a text that is scored"));
        }

        facts.AddRange(model.Matrix.Spec.Workloads.Select(w => ($"Workload {w.Name}", Workload(w))));
        return facts;
    }

    /// <summary>Runs that were left out for a reason known beforehand.</summary>
    public static IReadOnlyList<IReadOnlyList<string>> Skipped(ReportModel model) =>
        [.. model.Runs.Where(r => r.Run.State == RunState.Skipped).Select(r => (IReadOnlyList<string>)[Label(r.Run), r.Run.Reason ?? "no reason given"])];

    /// <summary>Grades that have reasons, one line a run.</summary>
    public static IReadOnlyList<(string Run, char Grade, string Reasons)> Grades(ReportModel model) =>
        [.. model.Runs.Where(r => r.Run is { Grade: not null, Speed: not null })
            .Select(r => (Label(r.Run), r.Run.Grade!.Grade,
                r.Run.Grade.Reasons.Count == 0 ? "nothing to object to" : string.Join("; ", r.Run.Grade.Reasons)))];

    /// <summary>Where each run's figures came from.</summary>
    public static IReadOnlyList<string> ProvenanceHeadings { get; } =
        ["Run", "Engine SHA-256", "ISA", "Threads", "Pack SHA-256", "Source SHA-256", "Token file SHA-256", "Recipe", "Calibration", "Device", "Kernel"];

    public static IReadOnlyList<string> Provenance(RunDetailView detail)
    {
        var p = detail.Provenance;
        return
        [
            Label(detail.Run), Or(p.EngineSha256), Or(p.Isa), detail.Run.Speed?.Threads.ToString() ?? Figures.None, Or(p.PackSha256),
            Or(p.SourceSha256), Or(p.TokenFileSha256), Or(p.Recipe), Or(p.Calibration?.Describe()), Or(p.DeviceFingerprint), Or(p.Kernel),
        ];
    }

    public static string Label(RunSummaryView run) => $"{run.Device} · {run.Model} · {run.Workload} · {run.Precision}";

    public static string Time(DateTimeOffset at) => at.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss 'UTC'");

    private static string Or(string? text) => string.IsNullOrEmpty(text) ? Figures.None : text;

    private static string Workload(WorkloadSpec w)
    {
        var parts = new List<string>();
        if (w.Prompt is { } prompt)
            parts.Add($"prompt of {prompt} tokens");
        if (w.Generate is { } generate)
            parts.Add($"generation of {generate} tokens");
        if (w.Prompt is not null || w.Generate is not null)
            parts.Add(w.Threads == 0 ? "all cores" : $"{w.Threads} threads");
        if (w.Dataset is not null)
            parts.Add($"perplexity {w.Convention} on {w.Dataset}, {(w.Windows is { } n ? $"first {n} windows" : "all windows")} on each board");
        if (w.Precisions is { Count: > 0 } some)
            parts.Add($"precisions {string.Join(", ", some)}");
        if (w.Devices is { Count: > 0 } devices)
            parts.Add($"devices {string.Join(", ", devices)}");
        if (w.Models.Count > 0)
            parts.Add($"models {string.Join(", ", w.Models)}");
        return string.Join("; ", parts);
    }
}
