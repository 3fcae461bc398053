using System.Text.Json.Serialization;

namespace AgileQuant.Orchestrator.Contracts;

/// <summary>
/// Our speed beside the best public CPU engine's on one kind of machine, as <c>bench perf engine</c> records it in
/// <c>$BENCH_HOME/perf/engine-&lt;isa&gt;.json</c>.
/// </summary>
/// <param name="Format">1.</param>
/// <param name="Isa">Kernel set that ran, as in a run's speed (<c>avx512vnni</c>).</param>
/// <param name="Cpu">CPU name.</param>
/// <param name="MeasuredAt">When.</param>
/// <param name="Model">Which model or shape, for people.</param>
/// <param name="Threads">Threads of both.</param>
/// <param name="Against">The engines that we were compared with, each with its version.</param>
/// <param name="Ratios">Ours over the better of theirs, by precision name.</param>
public sealed record EngineComparison(
    int Format, string Isa, string? Cpu, DateTimeOffset MeasuredAt, string Model, int Threads, IReadOnlyList<string> Against,
    IReadOnlyDictionary<string, EngineRatio> Ratios)
{
    public const int FormatVersion = 1;
}

/// <summary>Ours over theirs; above 1 is faster than they are. Null: not compared.</summary>
/// <param name="Prefill">Geometric mean over rounds.</param>
/// <param name="Generation">The same.</param>
/// <param name="PrefillHigh">Upper end of its 95% interval; null: not known.</param>
/// <param name="GenerationHigh">The same.</param>
public sealed record EngineRatio(double? Prefill, double? Generation, double? PrefillHigh = null, double? GenerationHigh = null);

/// <summary>Whether the fp16 baseline of one kind of machine is as fast as it should be: shown beside every speedup.</summary>
/// <param name="Isa">Kernel set of the runs it is about.</param>
/// <param name="Level">fp16 was shown level with the best public engine: the sentence need not warn.</param>
/// <param name="Sentence">One short sentence for people.</param>
public sealed record BaselineNote(string Isa, bool Level, string Sentence)
{
    /// <summary>Where the reader finds why this matters; relative to the repository.</summary>
    [JsonIgnore]
    public static string Link => "docs/measurement.md#is-the-baseline-fast-enough";
}
