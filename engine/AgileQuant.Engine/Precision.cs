using System.Diagnostics.CodeAnalysis;

namespace AgileQuant.Engine;

/// <summary>
/// Bits of weights and activations, and options: <c>fp16</c>, <c>w8a8</c>, <c>w4a4+gptq+trip</c>. Two are equal when their
/// canonical names (<see cref="ToString"/>) are.
/// </summary>
public readonly record struct Precision
{
    private readonly bool _brain;
    private readonly PrecisionOptions? _options; // null: none

    /// <summary>A base without options; 16 bits are fp16.</summary>
    public Precision(int weightBits, int activationBits)
    {
        (WeightBits, ActivationBits) = (weightBits, activationBits);
    }

    private Precision(bool brain)
        : this(16, 16) => _brain = brain;

    private Precision(Precision @base, PrecisionOptions options)
        : this(@base.WeightBits, @base.ActivationBits)
    {
        _brain = @base._brain;
        _options = options == PrecisionOptions.None ? null : options;
    }

    /// <summary>The baseline: fp16 weights, fp32 arithmetic on a processor without wider fp16 support.</summary>
    public static readonly Precision Fp16 = new(16, 16);

    /// <summary>The second 16-bit baseline: bf16 weights and inputs of linears, fp32 sums.</summary>
    public static readonly Precision Bf16 = new(brain: true);

    public static readonly Precision W8A8 = new(8, 8);

    public static readonly Precision W4A8 = new(4, 8);

    public static readonly Precision W4A4 = new(4, 4);

    /// <summary>Every base this version can pack, the baseline first.</summary>
    public static IReadOnlyList<Precision> Bases { get; } = [Fp16, Bf16, W8A8, W4A8, W4A4];

    /// <summary>The bases that every processor runs: those of a comparison nobody chose.</summary>
    public static IReadOnlyList<Precision> All { get; } = [Fp16, W8A8, W4A8, W4A4];

    /// <summary>16, 8 or 4.</summary>
    public int WeightBits { get; }

    /// <summary>16, 8 or 4.</summary>
    public int ActivationBits { get; }

    /// <summary>Without the options.</summary>
    public Precision Base => new(this, PrecisionOptions.None);

    public PrecisionOptions Options => _options ?? PrecisionOptions.None;

    /// <summary>True for the precision that speedups are relative to: fp16 without options.</summary>
    public bool IsBaseline => this == Fp16;

    /// <summary>Weights of 16 bits, fp16 or bf16.</summary>
    public bool Is16Bit => WeightBits == 16;

    /// <summary>Weights and inputs of linears are bf16.</summary>
    public bool IsBf16 => _brain;

    /// <summary>Packing it needs a calibration text: it chooses something by what the model does with real tokens.</summary>
    public bool NeedsCalibration => Options is { Gptq: true } or { Mixed: true } or { Trip: not TripMode.None }
        or { LowRatio: > 0 } or { Prune: PruneMode.Threshold };

    /// <summary>It chooses something by a calibration text when there is one: where rows leave in the paper's way needs none, but gains by it.</summary>
    public bool UsesCalibration => NeedsCalibration || Prunes;

    /// <summary>Tokens leave, so that there are three perplexities.</summary>
    public bool Prunes => Options.Prune != PruneMode.None;

    /// <summary>How attention probabilities are quantized: as the options say, else as the base does.</summary>
    public ProbabilityFormat Probabilities => Options.Probabilities ?? DefaultProbabilities;

    internal ProbabilityFormat DefaultProbabilities => ActivationBits == 4 ? ProbabilityFormat.Log2 : ProbabilityFormat.Full;

    /// <exception cref="FormatException">The text is not a precision this version supports; the message says why.</exception>
    public static Precision Parse(string text)
    {
        var problem = PrecisionName.Read(text, out var precision);
        return problem is null ? precision : throw new FormatException(problem);
    }

    public static bool TryParse([NotNullWhen(true)] string? text, out Precision precision) =>
        PrecisionName.Read(text, out precision) is null;

    /// <summary>The same base with other options. An option that only says what the base does anyway is dropped.</summary>
    /// <exception cref="ArgumentException">The options do not go together, or not with the base.</exception>
    public Precision With(PrecisionOptions options)
    {
        if (PrecisionName.Problem(Base, options) is { } problem)
            throw new ArgumentException($"{Base}{options}: {problem}", nameof(options));
        return Canonical(options);
    }

    /// <summary>The canonical name.</summary>
    public override string ToString() => (this switch
    {
        { _brain: true } => "bf16",
        { WeightBits: 16 } => "fp16",
        _ => $"w{WeightBits}a{ActivationBits}",
    }) + _options;

    internal Precision Canonical(PrecisionOptions options) => new(
        this, options.Probabilities == DefaultProbabilities ? options with { Probabilities = null } : options);
}
