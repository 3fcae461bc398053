using AgileQuant.Engine;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>
/// What rows, plans and reports ask of a precision's canonical name, without parsing all of it: <c>BASE[+OPTION...]</c>
/// (docs/packed-model.md). Names are made canonical once, by <see cref="Canonical"/>, and compared as text from then on.
/// </summary>
public static class PrecisionNames
{
    /// <summary>What every speedup and every difference in perplexity refers to.</summary>
    public const string Baseline = "fp16";

    /// <summary>Bases in the order in which they are shown.</summary>
    private static readonly string[] Bases = [Baseline, "bf16", "w8a8", "w4a8", "w4a4"];

    public static bool IsBaseline(string name) => name == Baseline;

    /// <summary>A 16-bit path that a speedup may be measured against: plain fp16 or bf16.</summary>
    public static bool IsSixteenBit(string name) => name is "fp16" or "bf16";

    /// <summary>bf16 with or without options: runs only where the CPU has the instruction.</summary>
    public static bool IsBf16(string name) => Base(name) == "bf16";

    /// <summary>
    /// Why a CPU cannot run a precision, so that its cells are skipped; null: it can, or nobody knows yet. The part before the
    /// semicolon stands alone where there is little room.
    /// </summary>
    /// <param name="name">The precision.</param>
    /// <param name="known">Base precisions that the engine has kernels for on that CPU (<c>aqengine info</c>); null: not recorded.</param>
    public static string? WhyNot(string name, IReadOnlyCollection<string>? known) =>
        IsBf16(name) && known is not null && !known.Contains("bf16")
            ? "this CPU has no bf16 instruction; fp16 is the 16-bit path here (aqengine info names no bf16 kernel)"
            : null;

    /// <summary>Tokens leave it on the way, so its perplexity is three numbers.</summary>
    public static bool IsPruned(string name) => Options(name).Any(o => o.StartsWith("prune", StringComparison.Ordinal));

    /// <summary>
    /// Some values have only 15 steps (4-bit activations, whole or of some tokens; 4-bit attention probabilities): one that rounds
    /// the other way moves a token visibly.
    /// </summary>
    public static bool IsCoarse(string name) =>
        Base(name) == "w4a4" || Options(name).Any(o => o is "log2" or "uniform" || o.StartsWith("low", StringComparison.Ordinal));

    public static string Base(string name) => name.IndexOf('+', StringComparison.Ordinal) is >= 0 and var plus ? name[..plus] : name;

    /// <summary>The options without their plus signs.</summary>
    public static IEnumerable<string> Options(string name) => name.Split('+').Skip(1);

    /// <summary>The one spelling of a precision that has several (<c>W4A8+trip+gptq</c>).</summary>
    /// <exception cref="FormatException">There is no such precision; the message says what there is.</exception>
    public static string Canonical(string name) => Precision.Parse(name).ToString();

    /// <summary>Packing it needs a calibration text. False for a name that does not exist.</summary>
    public static bool NeedsCalibration(string name) => Precision.TryParse(name, out var precision) && precision.NeedsCalibration;

    /// <summary>Packing it uses a calibration text when there is one. False for a name that does not exist.</summary>
    public static bool UsesCalibration(string name) => Precision.TryParse(name, out var precision) && precision.UsesCalibration;

    /// <summary>By base, then with fewer options first: the order of tables without a spec's own.</summary>
    public static IEnumerable<T> InOrder<T>(IEnumerable<T> items, Func<T, string> name) => items
        .OrderBy(i => Array.IndexOf(Bases, Base(name(i))) is >= 0 and var at ? at : Bases.Length)
        .ThenBy(i => Options(name(i)).Count())
        .ThenBy(name, StringComparer.Ordinal);
}
