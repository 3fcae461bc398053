using System.Globalization;
using AgileQuant.Orchestrator.Contracts;
using CsvHelper;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>The report as CSV (RFC 4180, UTF-8): one line a run, plain numbers with their units in the column names, empty where there is no figure.</summary>
public static class CsvReport
{
    /// <summary>Column names and how a run fills them; none ever changes its meaning.</summary>
    private static readonly IReadOnlyList<(string Name, Func<RunDetailView, object?> Value)> Columns =
    [
        ("run_id", r => r.Run.Id),
        ("device", r => Safe(r.Run.Device)),
        ("device_kind", r => r.Run.DeviceKind.ToString().ToLowerInvariant()),
        ("model", r => Safe(r.Run.Model)),
        ("random_weights", r => r.Run.RandomWeights ? "true" : "false"),
        ("precision", r => r.Run.Precision),
        ("workload", r => Safe(r.Run.Workload)),
        ("state", r => r.Run.State.ToString().ToLowerInvariant()),
        ("reason", r => Safe(r.Run.Reason)),
        ("perplexity_full_name", r => r.Run.Perplexity?.Full?.Name),
        ("perplexity_full", r => r.Run.Perplexity?.Full?.Value),
        ("perplexity_full_standard_error", r => r.Run.Perplexity?.Full?.StandardError),
        ("perplexity_full_delta_percent", r => r.Run.Perplexity?.Full?.DeltaPercent),
        ("perplexity_full_delta_standard_error_percent", r => r.Run.Perplexity?.Full?.DeltaStandardErrorPercent),
        ("perplexity_board_name", r => r.Run.Perplexity?.Name),
        ("perplexity_board", r => r.Run.Perplexity?.Value),
        ("perplexity_board_standard_error", r => r.Run.Perplexity?.StandardError),
        ("perplexity_board_delta_percent", r => r.Run.Perplexity?.DeltaPercent),
        ("perplexity_board_delta_standard_error_percent", r => r.Run.Perplexity?.DeltaStandardErrorPercent),
        .. SurvivorColumns("full", r => r.Run.Perplexity?.Full?.Survivors),
        .. SurvivorColumns("board", r => r.Run.Perplexity?.Survivors),
        ("board_node_max_difference_nats", r => r.Run.Perplexity?.NodeAgreement),
        .. RateColumns("prompt", r => r.Run.Speed?.Prefill),
        .. RateColumns("generation", r => r.Run.Speed?.Generation),
        ("speed_note", r => Figures.NoSpeedNote(r.Run) ?? r.Run.Speed?.Prefill?.SpeedupNote ?? r.Run.Speed?.Generation?.SpeedupNote),
        ("peak_memory_bytes", r => r.Run.Speed?.PeakMemoryBytes),
        ("pack_bytes", r => r.Run.PackBytes),
        ("trust", r => r.Run.Grade?.Grade),
        ("trust_reasons", r => r.Run.Grade is { } grade ? Safe(string.Join("; ", grade.Reasons)) : null),
        ("isa", r => r.Run.Speed?.Isa ?? r.Provenance.Isa),
        ("threads", r => r.Run.Speed?.Threads),
        ("engine_version", r => r.Provenance.EngineVersion),
        ("engine_sha256", r => r.Provenance.EngineSha256),
        ("pack_sha256", r => r.Provenance.PackSha256),
        ("calibration_dataset", r => Safe(r.Provenance.Calibration?.Dataset)),
        ("calibration_tokens_sha256", r => r.Provenance.Calibration?.TokensSha256),
        ("calibration_windows", r => r.Provenance.Calibration?.Windows),
        ("calibration_context", r => r.Provenance.Calibration?.Context),
        ("source_sha256", r => r.Provenance.SourceSha256),
        ("token_file_sha256", r => r.Provenance.TokenFileSha256),
        ("device_fingerprint", r => Safe(r.Provenance.DeviceFingerprint)),
        ("kernel", r => Safe(r.Provenance.Kernel)),
    ];

    /// <summary>Columns that are the same on every line, so that lines of several reports can be put together.</summary>
    private static readonly IReadOnlyList<(string Name, Func<ReportModel, object?> Value)> MatrixColumns =
    [
        ("matrix", m => Safe(m.Matrix.Summary.Name)),
        ("matrix_id", m => m.Matrix.Summary.Id),
        ("cluster_id", m => m.Status.ClusterId),
        ("ownership", m => m.Status.Ownership),
        ("transport", m => m.Status.Transport),
        ("orchestrator_version", m => m.Status.Version),
        ("report_made_at", m => m.GeneratedAt.ToUniversalTime().ToString("O", CultureInfo.InvariantCulture)),
    ];

    public static string Render(ReportModel model)
    {
        using var text = new StringWriter(CultureInfo.InvariantCulture);
        using var csv = CsvWriter.Create(text, new CsvWriterOptions { NewLine = "\n" }, leaveOpen: true);
        foreach (var name in MatrixColumns.Select(c => c.Name).Concat(Columns.Select(c => c.Name)))
            csv.WriteField(name);
        csv.EndRecord();
        foreach (var run in model.Runs)
        {
            foreach (var value in MatrixColumns.Select(c => c.Value(model)).Concat(Columns.Select(c => c.Value(run))))
                csv.WriteField(Convert.ToString(value, CultureInfo.InvariantCulture));
            csv.EndRecord();
        }

        csv.Flush();
        return text.ToString();
    }

    private static IEnumerable<(string, Func<RunDetailView, object?>)> RateColumns(string kind, Func<RunDetailView, RateView?> rate) =>
    [
        ($"{kind}_tokens_per_second", r => rate(r)?.Median),
        ($"{kind}_mad_percent", r => rate(r)?.MadPercent),
        ($"{kind}_repetitions", r => rate(r)?.Repetitions),
        ($"{kind}_outliers", r => rate(r)?.Outliers),
        ($"{kind}_burst_tokens_per_second", r => rate(r)?.Burst),
        ($"{kind}_sustained_tokens_per_second", r => rate(r)?.Sustained),
        ($"{kind}_speedup", r => rate(r)?.Speedup?.Ratio),
        ($"{kind}_speedup_low95", r => rate(r)?.Speedup?.Low),
        ($"{kind}_speedup_high95", r => rate(r)?.Speedup?.High),
        ($"{kind}_paired_blocks", r => rate(r)?.Speedup?.PairedBlocks),
        ($"{kind}_best16", r => rate(r)?.Best16),
        ($"{kind}_over_best16", r => rate(r)?.OverBest16?.Ratio),
        ($"{kind}_over_best16_low95", r => rate(r)?.OverBest16?.Low),
        ($"{kind}_over_best16_high95", r => rate(r)?.OverBest16?.High),
        ($"{kind}_row_share", r => rate(r)?.RowShare),
    ];

    /// <summary>Pruned precisions. A difference from fp16 is never made from these.</summary>
    private static IEnumerable<(string, Func<RunDetailView, object?>)> SurvivorColumns(string where, Func<RunDetailView, SurvivorView?> survivors) =>
    [
        ($"perplexity_{where}_survivors_only", r => survivors(r)?.Value),
        ($"perplexity_{where}_fp16_on_survivors", r => survivors(r)?.BaselineValue),
        ($"perplexity_{where}_survivor_share", r => survivors(r)?.Share),
    ];

    /// <summary>A spreadsheet must not run text that somebody typed as a formula.</summary>
    private static string? Safe(string? text) =>
        !string.IsNullOrEmpty(text) && "=+-@\t\r".Contains(text[0], StringComparison.Ordinal) ? "'" + text : text;
}
