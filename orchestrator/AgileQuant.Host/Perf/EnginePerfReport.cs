namespace AgileQuant.Host.Perf;

/// <summary>Prefill or generation.</summary>
internal enum PerfPhase
{
    Prefill,
    Generation,
}

/// <summary>What the machine itself can do with so many threads, as <c>aqengine roofline</c> measures it. Null: not measured on this CPU.</summary>
internal sealed record PerfRoofline(int Threads, double ReadGbPerSecond, double Fp32GflopPerSecond, double? Bf16GflopPerSecond, double Int8GopPerSecond);

/// <summary>Speed of one engine with one kind of weights.</summary>
/// <param name="Engine"><c>ours</c>, or the name given to another engine.</param>
/// <param name="Weights">Our precision, or the other engine's type.</param>
/// <param name="ComputedAs">The type that its arithmetic compares with: F16, BF16, Q8_0 or Q4_0.</param>
/// <param name="TokensPerSecond">Median of all counted repetitions.</param>
/// <param name="SpreadPercent">MAD of the repetitions in percent of the median.</param>
/// <param name="Rounds">Median of each round.</param>
/// <param name="RooflineShare">Ours only: share of the measured multiply rate (prefill) or read bandwidth (generation).</param>
internal sealed record PerfFigure(
    string Engine, string Weights, string ComputedAs, int Threads, PerfPhase Phase, double TokensPerSecond, double SpreadPercent, IReadOnlyList<double> Rounds,
    double? RooflineShare);

/// <summary>Ours over the best of the others, round by round.</summary>
/// <param name="Ratio">Geometric mean over the rounds.</param>
/// <param name="Low">Lower end of its 95% interval (<see cref="AgileQuant.Orchestrator.Measurement.Speedup"/>); with too few rounds for one, the lowest round.</param>
/// <param name="High">Upper end, or the highest round.</param>
internal sealed record PerfRatio(string Precision, int Threads, PerfPhase Phase, string Best, double Ratio, double Low, double High);

/// <summary>Largest resident size against the goal of docs/measurement.md.</summary>
internal sealed record PerfMemory(string Precision, int Threads, long PeakBytes, long GoalBytes);

/// <summary>From starting the process to the first token's logits, the pack in the page cache; seconds.</summary>
internal sealed record PerfFirstToken(string Precision, int Threads, double Median, IReadOnlyList<double> Runs);

internal sealed record EnginePerfReport(
    string Model, string Isa, string? Cpu, DateTimeOffset MeasuredAt, int Prompt, int Generate, int Rounds, IReadOnlyList<string> Against,
    IReadOnlyList<PerfRoofline> Rooflines, IReadOnlyList<PerfFigure> Figures, IReadOnlyList<PerfRatio> Ratios, IReadOnlyList<PerfMemory> Memory,
    PerfFirstToken? FirstToken, IReadOnlyList<string> Notes);
