using System.Globalization;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>How figures are written: the same words in HTML, Markdown and on the terminal.</summary>
public static class Figures
{
    /// <summary>Stands where a run was not asked for this figure.</summary>
    public const string None = "–";

    public const string EmulatedNote = "emulated: numerics only";
    public const string SimulatedNote = "simulated: not a measurement";
    public const string RandomNote = "random weights: speed only";
    public const string TooFewBlocks = "too few blocks for an interval";

    /// <summary>Tokens a second with three significant digits.</summary>
    public static string Rate(double tokensPerSecond) => tokensPerSecond switch
    {
        >= 100 => Format(tokensPerSecond, "F0"),
        >= 10 => Format(tokensPerSecond, "F1"),
        _ => Format(tokensPerSecond, "F2"),
    };

    /// <summary>A perplexity with the digits that a 0.1% comparison needs.</summary>
    public static string PerplexityValue(double value) => value switch
    {
        >= 1000 => Format(value, "F1"),
        >= 100 => Format(value, "F2"),
        _ => Format(value, "F4"),
    };

    /// <summary>Bytes in binary units.</summary>
    public static string Bytes(long? bytes) => bytes switch
    {
        null => None,
        >= 1L << 30 => Format(bytes.Value / (double)(1L << 30), "F2") + " GiB",
        >= 1L << 20 => Format(bytes.Value / (double)(1L << 20), "F1") + " MiB",
        _ => Format(bytes.Value / 1024.0, "F1") + " KiB",
    };

    /// <summary>Why this run shows no speed, or null when it may.</summary>
    public static string? NoSpeedNote(RunSummaryView run) => run.DeviceKind switch
    {
        DeviceKind.Emulated => EmulatedNote,
        DeviceKind.Simulated => SimulatedNote,
        _ => null,
    };

    /// <summary>The perplexity of the whole text, scored on a node, or what stands in its place.</summary>
    public static string FullPerplexity(RunSummaryView run)
    {
        if (run.RandomWeights)
            return RandomNote;
        return run.Perplexity?.Full is { } full ? $"{WithError(full.Value, full.StandardError)}, {full.Name}" : None;
    }

    /// <summary>The device, marked when it is not a real board.</summary>
    public static string Device(RunSummaryView run) => NoSpeedNote(run) is { } note ? $"{run.Device} ({note})" : run.Device;

    /// <summary>The model, marked when its weights are random.</summary>
    public static string Model(RunSummaryView run) => run.RandomWeights ? $"{run.Model} ({RandomNote})" : run.Model;

    /// <summary>Whether a cell holds a figure, not only what stands in its place.</summary>
    public static bool IsFigure(string cell) => cell is not (None or EmulatedNote or SimulatedNote or RandomNote);

    /// <summary>Its difference from fp16 on identical windows, in percent; the board's windows where the whole text is missing.</summary>
    public static string Delta(RunSummaryView run)
    {
        if (run.RandomWeights || run.Perplexity is not { } p)
            return None;
        if (PrecisionNames.IsBaseline(run.Precision))
            return "baseline";
        return p.Full is { DeltaPercent: { } full }
            ? Percent(full, p.Full.DeltaStandardErrorPercent)
            : p.DeltaPercent is { } delta ? Percent(delta, p.DeltaStandardErrorPercent) + " (board's windows)" : None;
    }

    /// <summary>The board's own figure on its windows and how far its tokens are from the node's.</summary>
    public static string Board(RunSummaryView run)
    {
        if (run.RandomWeights || run.Perplexity is not { } p)
            return None;
        return $"{PerplexityValue(p.Value)} on {p.Name}; {AgreementWords(run.Precision, p.NodeAgreement)}";
    }

    /// <summary>The same in a few characters, for a dense table that has <see cref="Board"/> at hand.</summary>
    public static string BoardShort(RunSummaryView run)
    {
        if (run.RandomWeights || run.Perplexity is not { } p)
            return None;
        var windows = p.Name.IndexOf('[', StringComparison.Ordinal) is >= 0 and var at ? p.Name[at..] : p.Name;
        var agreement = p.NodeAgreement is 0 ? "equal to node" : AgreementWords(run.Precision, p.NodeAgreement);
        return $"{PerplexityValue(p.Value)} {windows}, {agreement}";
    }

    private static string AgreementWords(string precision, double? nodeAgreement) => nodeAgreement switch
    {
        null => "not compared",
        0 => "equal to the node's, token by token",
        { } nats when !(nats <= Agreement.TokenTolerance(precision)) => $"DISAGREES with the node by {Nats(nats)} nat",
        { } nats => $"≤ {Nats(nats)} nat from node",
    };

    public static string Prompt(RunSummaryView run) => Speed(run, run.Speed?.Prefill);

    public static string Generation(RunSummaryView run) => Speed(run, run.Speed?.Generation);

    public static string PromptSpeedup(RunSummaryView run) => Speedup(run, run.Speed?.Prefill);

    public static string GenerationSpeedup(RunSummaryView run) => Speedup(run, run.Speed?.Generation);

    /// <summary>Speedup over the fastest 16-bit path of the same job, with that path's name.</summary>
    public static string PromptOverBest(RunSummaryView run) => OverBest(run, run.Speed?.Prefill);

    public static string GenerationOverBest(RunSummaryView run) => OverBest(run, run.Speed?.Generation);

    /// <summary>Pruned precisions: how much of the work a prompt still was.</summary>
    public static string Rows(RunSummaryView run) =>
        NoSpeedNote(run) is null && run.Speed?.Prefill?.RowShare is { } share ? Format(share * 100, "F1") + "%" : None;

    /// <summary>Pruned precisions: survivors only, with fp16 on the same tokens; of the whole text, else of the board's windows.</summary>
    public static string Survivors(RunSummaryView run)
    {
        if (run.RandomWeights || run.Perplexity is not { } p)
            return None;
        var (survivors, windows) = p.Full?.Survivors is { } full ? (full, "") : (p.Survivors, " (board's windows)");
        if (survivors is null)
            return None;
        var fp16 = survivors.BaselineValue is { } b ? PerplexityValue(b) : "not there yet";
        return $"{PerplexityValue(survivors.Value)} on {Format(survivors.Share * 100, "F1")}% of tokens; fp16 there {fp16}{windows}";
    }

    public static string PeakMemory(RunSummaryView run) => NoSpeedNote(run) is null ? Bytes(run.Speed?.PeakMemoryBytes) : None;

    public static string Grade(RunSummaryView run) =>
        run.Speed is not null && NoSpeedNote(run) is null && run.Grade is { } grade ? grade.Grade.ToString() : None;

    /// <summary>State, with its reason where it is not complete.</summary>
    public static string State(RunSummaryView run)
    {
        var state = run.State.ToString().ToLowerInvariant();
        return run.State == RunState.Complete || string.IsNullOrEmpty(run.Reason) ? state : $"{state}: {run.Reason}";
    }

    /// <summary>A speedup with its interval, or the words that stand in its place.</summary>
    public static string Ratio(SpeedupView speedup) => speedup is { Low: { } low, High: { } high }
        ? $"{Format(speedup.Ratio, "F2")}× [{Format(low, "F2")}, {Format(high, "F2")}]"
        : $"{Format(speedup.Ratio, "F2")}× ({TooFewBlocks})";

    /// <summary>A signed percentage with its standard error.</summary>
    public static string Percent(double percent, double? error) =>
        $"{Format(percent, "+0.00;-0.00;0.00")}%{(error is { } e ? $" ± {Format(e, "F2")}%" : "")}";

    internal static string Nats(double nats) => nats == 0 ? "0" : nats.ToString(nats is >= 0.01 and < 1000 ? "0.0##" : "0.0e+0", CultureInfo.InvariantCulture);

    private static string WithError(double value, double? error) =>
        PerplexityValue(value) + (error is { } e ? $" ± {Format(e, e < 0.1 ? "F4" : "F2")}" : "");

    private static string Speed(RunSummaryView run, RateView? rate)
    {
        if (NoSpeedNote(run) is { } note)
            return note;
        return rate is null ? None : $"{Rate(rate.Median)} ± {Format(rate.MadPercent, "F1")}%";
    }

    private static string Speedup(RunSummaryView run, RateView? rate)
    {
        if (NoSpeedNote(run) is not null || rate is null)
            return None;
        if (rate.Speedup is { } speedup)
            return Ratio(speedup);
        return PrecisionNames.IsBaseline(run.Precision) ? "baseline" : rate.SpeedupNote ?? None;
    }

    private static string OverBest(RunSummaryView run, RateView? rate) => NoSpeedNote(run) is not null || rate?.Best16 is not { } best ? None
        : rate.OverBest16 is { } ratio ? $"{Ratio(ratio)} over {best}"
        : run.Precision == best ? "the best 16-bit path" : $"no {best} block of the same attempt to compare with";

    private static string Format(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
