using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Dashboard.Model;

/// <summary>What the cells of a heat map show.</summary>
public enum Metric { GenerationSpeedup, PrefillSpeedup, GenerationSpeed, PrefillSpeed, PerplexityDelta, Perplexity }

/// <summary>How a cell looks: a measured value, or the reason why there is none.</summary>
public enum CellTone { Value, Baseline, Pending, Active, Failed, Cancelled, NotApplicable }

/// <summary>One cell of the heat map.</summary>
/// <param name="Text">Its figure or its state; never empty.</param>
/// <param name="Detail">A second, small line: interval, error or a short reason.</param>
/// <param name="Explanation">A full sentence for the tooltip and for screen readers.</param>
/// <param name="Shade">From -1 (worse than the baseline) over 0 to 1 (best of the group); null: no colour.</param>
public sealed record HeatCell(
    RunSummaryView? Run, string Text, string? Detail, CellTone Tone, string Explanation, double? Value, double? Shade);

/// <summary>A row of the heat map: one device with a cell per precision.</summary>
public sealed record HeatRow(string Device, DeviceKind Kind, IReadOnlyList<HeatCell> Cells);

/// <summary>One heat map: devices x precisions of one model and workload.</summary>
/// <param name="Metric">The metric asked for, or the next best one where this workload does not measure it.</param>
public sealed record HeatGroup(string Model, bool RandomWeights, string Workload, Metric Metric, IReadOnlyList<string> Precisions, IReadOnlyList<HeatRow> Rows);

/// <summary>Arranges a matrix's runs as heat maps. Pure: the same runs give the same cells.</summary>
internal static class HeatMap
{
    internal static IReadOnlyList<HeatGroup> Build(MatrixView matrix, Metric metric) =>
    [
        .. matrix.Runs.GroupBy(run => (run.Model, run.Workload))
            .OrderBy(group => IndexOf(matrix.Spec.Models, group.Key.Model))
            .ThenBy(group => IndexOf([.. matrix.Spec.Workloads.Select(w => w.Name)], group.Key.Workload))
            .Select(group => Group(matrix.Spec, [.. group], Nearest(matrix.Spec, group.First(), metric))),
    ];

    private static HeatGroup Group(MatrixSpec spec, IReadOnlyList<RunSummaryView> runs, Metric metric)
    {
        var precisions = spec.Precisions.Concat(runs.Select(r => r.Precision)).Distinct().Where(p => runs.Any(r => r.Precision == p)).ToList();
        var devices = spec.Devices.Concat(runs.Select(r => r.Device)).Distinct().Where(d => runs.Any(r => r.Device == d)).ToList();
        var rows = devices.Select(device => new HeatRow(
            device, runs.First(r => r.Device == device).DeviceKind,
            [.. precisions.Select(p => Cell(runs.FirstOrDefault(r => r.Device == device && r.Precision == p), metric))])).ToList();
        return new(runs[0].Model, runs[0].RandomWeights, runs[0].Workload, metric, precisions, Shaded(rows, metric));
    }

    /// <summary>The wanted metric if the run's workload measures it, else the first that it does measure.</summary>
    internal static Metric Nearest(MatrixSpec spec, RunSummaryView run, Metric wanted)
    {
        var workload = spec.Workloads.FirstOrDefault(w => w.Name == run.Workload);
        return workload is null ? wanted
            : new[] { wanted, Metric.GenerationSpeedup, Metric.PrefillSpeedup, Metric.PerplexityDelta }.FirstOrDefault(Measures, wanted);

        bool Measures(Metric metric) => metric switch
        {
            Metric.GenerationSpeed or Metric.GenerationSpeedup => workload.Generate is not null,
            Metric.PrefillSpeed or Metric.PrefillSpeedup => workload.Prompt is not null,
            _ => workload.Dataset is not null && !run.RandomWeights,
        };
    }

    /// <summary>The metric that has most to show for these workloads, for a first look.</summary>
    internal static Metric Default(MatrixSpec spec) =>
        spec.Workloads.Any(w => w.Generate is not null) ? Metric.GenerationSpeedup
        : spec.Workloads.Any(w => w.Prompt is not null) ? Metric.PrefillSpeedup
        : Metric.PerplexityDelta;

    internal static bool IsSpeed(Metric metric) => metric is not (Metric.Perplexity or Metric.PerplexityDelta);

    internal static string Name(Metric metric) => metric switch
    {
        Metric.GenerationSpeedup => "Generation speedup",
        Metric.PrefillSpeedup => "Prefill speedup",
        Metric.GenerationSpeed => "Generation speed",
        Metric.PrefillSpeed => "Prefill speed",
        Metric.PerplexityDelta => "Perplexity difference",
        _ => "Perplexity",
    };

    internal static string HowMeasured(Metric metric) => metric switch
    {
        Metric.GenerationSpeedup or Metric.PrefillSpeedup =>
            "Ratio over fp16 on the same board, from blocks of one job that alternate with fp16 blocks; the interval is a 95% paired "
            + "bootstrap on log ratios over at least 6 pairs. An interval that contains 1.00 shows no difference.",
        Metric.GenerationSpeed or Metric.PrefillSpeed =>
            "Median tokens a second over all counted repetitions after warm-up; no sample is dropped. MAD is the median absolute "
            + "deviation in percent of the median. Colour compares within one table.",
        Metric.PerplexityDelta =>
            "exp(mean difference of the negative log-likelihood to fp16) − 1 over identical windows, paired by token, its standard error "
            + "clustered by window. Lower is better; 0 is as good as fp16. Of the whole text once a node has scored it, until then of the board's windows.",
        _ => "exp of the mean negative log-likelihood by the named convention over the named windows; ± is its standard error. "
            + "Compare only figures with the same name.",
    };

    internal static HeatCell Cell(RunSummaryView? run, Metric metric)
    {
        if (run is null)
        {
            return Empty(null, "not planned", CellTone.NotApplicable, "This combination is not part of the matrix.");
        }

        if (IsSpeed(metric) && Words.NoSpeed(run.DeviceKind) is { } noSpeed)
        {
            return Empty(run, "numerics only", CellTone.NotApplicable, $"{run.Device} is {noSpeed}. It never shows a speed.");
        }

        if (!IsSpeed(metric) && run.RandomWeights)
        {
            return Empty(run, "speed only", CellTone.NotApplicable, $"{run.Model} has {Words.RandomOnly}. Its perplexity would mean nothing.");
        }

        return (IsSpeed(metric) ? SpeedCell(run, metric) : PerplexityCell(run, metric)) ?? StateCell(run, metric);
    }

    private static HeatCell? SpeedCell(RunSummaryView run, Metric metric)
    {
        var rate = metric is Metric.GenerationSpeed or Metric.GenerationSpeedup ? run.Speed?.Generation : run.Speed?.Prefill;
        if (rate is null)
        {
            return null;
        }

        var speed = $"{Format.Rate(rate.Median)}, MAD {Format.Spread(rate.MadPercent)} over {rate.Repetitions} repetitions";
        if (metric is Metric.GenerationSpeed or Metric.PrefillSpeed)
        {
            return new(run, Format.Number(rate.Median), $"MAD {Format.Spread(rate.MadPercent)}", CellTone.Value, speed, rate.Median, null);
        }

        if (rate.Speedup is not { } speedup)
        {
            return PrecisionNames.IsBaseline(run.Precision)
                ? new(run, "1.00×", "baseline", CellTone.Baseline, $"The baseline: {speed}", null, null)
                : new(run, "no baseline", Format.Rate(rate.Median), CellTone.NotApplicable, rate.SpeedupNote ?? "There is no fp16 figure of this board to compare with.", null, null);
        }

        return new(run, Format.Ratio(speedup.Ratio), Bounds(speedup), CellTone.Value, $"{Explain(speedup)} {speed}.{OverBest(run, rate)}{Rows(rate)}", speedup.Ratio, null);
    }

    /// <summary>Beside the speedup over fp16, where another 16-bit path is faster; empty else.</summary>
    private static string OverBest(RunSummaryView run, RateView rate) => rate is { Best16: { } best, OverBest16: { } ratio } && !PrecisionNames.IsBaseline(best)
        ? $" Over {best}, the fastest 16-bit path here: {Format.Ratio(ratio.Ratio)} ({Bounds(ratio)})."
        : rate.Best16 == run.Precision ? " It is the fastest 16-bit path here." : "";

    private static string Rows(RateView rate) => rate.RowShare is { } share ? $" {Format.Percent(share)} of the rows were computed; pruning left out the rest." : "";

    private static string Bounds(SpeedupView speedup) =>
        speedup is { Low: { } low, High: { } high } ? Format.Interval(low, high) : "too few blocks";

    /// <summary>Says whether a speedup is significant, and why.</summary>
    internal static string Explain(SpeedupView speedup) => speedup switch
    {
        { Low: { } low, High: { } high } when low <= 1 && high >= 1 =>
            $"95% interval {Format.Interval(low, high)} contains 1: no difference shown ({speedup.PairedBlocks} paired blocks).",
        { Low: { } low, High: { } high } =>
            $"{(speedup.Ratio > 1 ? "Faster" : "Slower")} than fp16: 95% interval {Format.Interval(low, high)} from {speedup.PairedBlocks} paired blocks.",
        _ => $"{speedup.PairedBlocks} paired blocks: too few blocks for an interval.",
    };

    private static HeatCell? PerplexityCell(RunSummaryView run, Metric metric)
    {
        if (Quality.Of(run) is not { } quality)
        {
            return null;
        }

        var value = Format.Perplexity(quality.Value);
        if (metric is Metric.Perplexity)
        {
            var error = quality.StandardError is { } se ? Format.Number(se) : null;
            return new(run, value, quality.Detail(error), CellTone.Value, $"{quality.Name}: {value}{(error is null ? "" : $" ± {error}")}.{quality.OnBoard}", quality.Value, null);
        }

        if (quality.DeltaPercent is not { } delta)
        {
            return PrecisionNames.IsBaseline(run.Precision)
                ? new(run, value, "baseline", CellTone.Baseline, $"The baseline: {quality.Name} is {value}.{quality.OnBoard}", null, null)
                : new(run, "no baseline", value, CellTone.NotApplicable, $"{quality.Name} is {value}; fp16 on the same windows is not there to compare with.", null, null);
        }

        var spread = quality.DeltaStandardErrorPercent is { } deltaError ? Format.Spread(deltaError) : null;
        return new(run, Format.SignedPercent(delta), quality.Detail(spread), CellTone.Value,
            $"{quality.Name}: {value}, {Format.SignedPercent(delta)}{(spread is null ? "" : $" ± {spread}")} against fp16 on the same windows, all tokens."
            + $"{Words.Survivors(quality.Survivors)}{quality.OnBoard}", delta, null);
    }

    private static HeatCell StateCell(RunSummaryView run, Metric metric)
    {
        var chip = Words.Of(run.State);
        var reason = run.Reason ?? chip.Explanation;
        return run.State switch
        {
            RunState.Complete => Empty(run, "not asked", CellTone.NotApplicable, $"The workload {run.Workload} does not ask for {Name(metric).ToLowerInvariant()}."),
            RunState.Incomplete => Empty(run, chip.Text, CellTone.Failed, reason),
            RunState.Cancelled => Empty(run, chip.Text, CellTone.Cancelled, reason),
            RunState.Skipped => Empty(run, run.Reason is null ? chip.Text : $"{chip.Text}: {Words.InShort(run.Reason)}", CellTone.NotApplicable, reason),
            RunState.Running or RunState.Packing => Empty(run, chip.Text, CellTone.Active, reason),
            _ => Empty(run, chip.Text, CellTone.Pending, reason),
        };
    }

    private static HeatCell Empty(RunSummaryView? run, string text, CellTone tone, string explanation) =>
        new(run, text, null, tone, explanation, null, null);

    private static List<HeatRow> Shaded(List<HeatRow> rows, Metric metric)
    {
        var values = rows.SelectMany(r => r.Cells).Where(c => c.Value is not null).Select(c => c.Value!.Value).ToList();
        return values.Count == 0 ? rows
            : [.. rows.Select(r => r with { Cells = [.. r.Cells.Select(c => c.Value is { } v ? c with { Shade = Shade(v, values, metric) } : c)] })];
    }

    /// <summary>Colour of one value among its group's. Speedups: log scale around 1. Speeds: share of the best. Perplexity: lower is better.</summary>
    internal static double Shade(double value, IReadOnlyList<double> group, Metric metric)
    {
        switch (metric)
        {
            case Metric.GenerationSpeedup or Metric.PrefillSpeedup:
                var reach = Math.Max(1, group.Max(v => Math.Abs(Math.Log2(Math.Max(v, 1e-6)))));
                return Math.Clamp(Math.Log2(Math.Max(value, 1e-6)) / reach, -1, 1);
            case Metric.PerplexityDelta:
                return Math.Clamp(1 - (2 * Math.Sqrt(Math.Max(0, value) / 10)), -1, 1); // 2.5% is neutral, 10% or more is worst
            case Metric.Perplexity:
                var (low, high) = (group.Min(), group.Max());
                return high - low < 1e-9 ? 0.5 : 1 - ((value - low) / (high - low));
            default:
                return Math.Clamp(value / Math.Max(group.Max(), 1e-9), 0, 1);
        }
    }

    private static int IndexOf(IReadOnlyList<string> names, string name)
    {
        var at = names.ToList().IndexOf(name);
        return at < 0 ? int.MaxValue : at;
    }
}
