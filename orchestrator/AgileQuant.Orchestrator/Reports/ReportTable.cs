using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>A column of the comparison: its heading, the note that explains it, and how a run fills it.</summary>
/// <param name="Note">Key into <see cref="ReportNotes.All"/>; null where nothing needs explaining.</param>
/// <param name="Numeric">Set to the right.</param>
public sealed record ReportColumn(string Heading, string? Note, bool Numeric, Func<RunSummaryView, string> Cell)
{
    /// <summary>Fewer characters for the dense table of the HTML report, which shows <see cref="Cell"/> as the cell's title; null: the same.</summary>
    public Func<RunSummaryView, string>? Short { get; init; }

    /// <summary>A name that is never broken into lines.</summary>
    public bool Name => Heading is "Device" or "Model" or "Precision";
}

/// <summary>The comparison of one workload: the columns that its runs fill, and a row of cells a run.</summary>
public sealed record ReportTable(
    string Workload, IReadOnlyList<ReportColumn> Columns, IReadOnlyList<RunSummaryView> Runs, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    /// <summary>All columns, in order.</summary>
    public static IReadOnlyList<ReportColumn> AllColumns { get; } =
    [
        new("Device", null, false, Figures.Device),
        new("Model", null, false, Figures.Model),
        new("Precision", "precision", false, r => r.Precision),
        new("Perplexity, whole text", "perplexity", false, Figures.FullPerplexity),
        new("Δ from fp16", "delta", true, Figures.Delta),
        new("Survivors only", "survivors", false, Figures.Survivors),
        new("On the board", "board", false, Figures.Board) { Short = Figures.BoardShort },
        new("Prompt, tokens/s", "speed", true, Figures.Prompt),
        new("Prompt speedup", "speedup", true, Figures.PromptSpeedup),
        new("Over best 16-bit", "best16", true, Figures.PromptOverBest),
        new("Rows computed", "rows", true, Figures.Rows),
        new("Generation, tokens/s", "speed", true, Figures.Generation),
        new("Generation speedup", "speedup", true, Figures.GenerationSpeedup),
        new("Over best 16-bit", "best16", true, Figures.GenerationOverBest),
        new("Peak memory", "memory", true, Figures.PeakMemory),
        new("File", "file", true, r => Figures.Bytes(r.PackBytes)),
        new("Trust", "trust", false, Figures.Grade),
        new("State", null, false, Figures.State),
    ];

    /// <summary>One table a workload, in the order of the spec. A column without a figure is left out; so is the state when all are complete.</summary>
    public static IReadOnlyList<ReportTable> For(MatrixView matrix) =>
        [.. ReportModel.Ordered(matrix).Select(ReportModel.Honest).GroupBy(r => r.Workload).Select(g => Build(g.Key, [.. g]))];

    /// <summary>Where fp16 is the only 16-bit path, the best one is the baseline and its column would only repeat the speedup.</summary>
    private static bool HasOtherSixteenBit(RunSummaryView run) => run.Precision != PrecisionNames.Baseline && PrecisionNames.IsSixteenBit(run.Precision);

    private static ReportTable Build(string workload, IReadOnlyList<RunSummaryView> runs)
    {
        var columns = AllColumns.Where(c => c.Heading == "State"
            ? runs.Any(r => r.State != RunState.Complete)
            : runs.Any(r => Figures.IsFigure(c.Cell(r))) && (c.Note != "best16" || runs.Any(HasOtherSixteenBit))).ToList();
        return new ReportTable(workload, columns, runs, [.. runs.Select(r => (IReadOnlyList<string>)[.. columns.Select(c => c.Cell(r))])]);
    }
}

/// <summary>How each figure was made, in words a reader can check.</summary>
public static class ReportNotes
{
    /// <summary>Notes by key, in the order they are numbered.</summary>
    public static IReadOnlyList<(string Key, string Text)> All { get; } =
    [
        ("precision", "Weight bits and activation bits: w4a8 has 4-bit weights and 8-bit activations. Products of quantized linears are "
            + "integer products. fp16 is the baseline: fp16 weights and KV cache, 32-bit arithmetic unless the run's provenance names another path. "
            + "bf16 runs only on CPUs with the instruction. After a plus sign stand options: gptq (weights rounded with a calibration text, else to the "
            + "nearest), asym (zero points), trip (power-of-two channel factors), mixed (sensitive inputs stay 8-bit), lowR (that share of tokens carries 4-bit "
            + "activations), pruneR (that share of tokens leaves on the way), kv8 (8-bit keys and values)."),
        ("perplexity", "Scored on a node over the whole text, once per packed model, with the same engine that runs on the board; ± is the "
            + "standard error, clustered by window (windows, not tokens, count as independent). The convention stands in the name: gptq-N is exp of the mean over windows of N tokens that do not overlap, "
            + "N-1 targets each; llama.cpp-N puts BOS first and scores the last N-1-N/2 targets of each window."),
        ("delta", "exp(mean paired NLL difference from fp16) - 1 over identical windows, in percent; ± is its standard error, clustered by window."),
        ("survivors", "Pruned runs have three perplexities. The whole text counts every token; a pruned one is scored from the residual it left with, "
            + "and only that figure gives differences. Survivors only is the paper's way: labels of pruned tokens are dropped, so it is an average over fewer, "
            + "often easier tokens and no better quality. fp16 there is fp16 on the very same tokens: what the two differ by is what pruning did to them."),
        ("board", "Perplexity that the board itself measured on the windows named ([first:end] of the text), and the largest difference "
            + "of a single token's NLL from the node's score of the same pack: it shows that the board computes what it should. Beyond "
            + $"{Agreement.Tolerance} nat ({Agreement.Tolerance16Bit} in 16-bit arithmetic, {Agreement.Tolerance4Bit} with 4-bit steps; with pruning a window's mean beyond {Agreement.WindowTolerance4Bit}) the board "
            + "disagrees and its figure is wrong."),
        ("speed", "Median over every counted repetition after warm-up; ± is the median absolute deviation in percent of the median. "
            + "No repetition is dropped: outliers are marked in the samples. Emulated and simulated boards never show a speed."),
        ("speedup", "Ratio over fp16 blocks of the same job on the same board, paired in time; the brackets are a 95% interval by paired "
            + "bootstrap on log ratios, seeded, given from 6 paired blocks on. Without an fp16 baseline on the same device there is no speedup."),
        ("baseline", "A speedup says nothing when its baseline is slow. Our fp16 should be as fast as the best public CPU engine's on the same kind of machine; "
            + $"the sentence above the tables says whether that was measured, with the ratio. How it is compared: {BaselineNote.Link}."),
        ("best16", "Ratio over the fastest 16-bit path that ran in the same job (the cell names it), paired in time like the speedup. Where the CPU has a bf16 "
            + "instruction bf16 is often faster than fp16, and a speedup that hid it would be dishonest."),
        ("rows", "Rows x layers of a prompt that were computed, as a share of all: how much of a pruned precision's speed is less work instead of cheaper work."),
        ("memory", "Peak resident memory of the engine process while it ran this precision's blocks."),
        ("file", "Size of the packed model that the board loads."),
        ("trust", "Grade A to D of the speed: spread, drift, clock residency, start temperature and background load; at most B without a "
            + "temperature reading. The reasons stand below."),
        ("random", "A model with random weights is generated for speed alone: it has the shape and size of a real one, its text is noise, "
            + "and it has no perplexity."),
    ];

    /// <summary>The number of a note, from 1.</summary>
    public static int Number(string key)
    {
        for (var i = 0; i < All.Count; i++)
        {
            if (All[i].Key == key)
                return i + 1;
        }

        throw new ArgumentOutOfRangeException(nameof(key), key, "no such note");
    }
}
