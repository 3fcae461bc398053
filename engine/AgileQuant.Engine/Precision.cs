using System.Diagnostics.CodeAnalysis;

namespace AgileQuant.Engine;

/// <summary>Bits of weights and activations: <c>fp16</c>, <c>w8a8</c>, <c>w4a8</c> or <c>w4a4</c>.</summary>
public readonly record struct Precision(int WeightBits, int ActivationBits)
{
    /// <summary>The baseline: fp16 weights, fp32 arithmetic on a processor without wider fp16 support.</summary>
    public static readonly Precision Fp16 = new(16, 16);

    public static readonly Precision W8A8 = new(8, 8);

    public static readonly Precision W4A8 = new(4, 8);

    public static readonly Precision W4A4 = new(4, 4);

    /// <summary>Every precision this version can pack, the baseline first.</summary>
    public static IReadOnlyList<Precision> All { get; } = [Fp16, W8A8, W4A8, W4A4];

    /// <summary>True for the precision that speedups are relative to.</summary>
    public bool IsBaseline => this == Fp16;

    /// <exception cref="FormatException">The text is not a precision this version supports; the message lists those.</exception>
    public static Precision Parse(string text)
    {
        var problem = Explain(text, out var precision);
        return problem is null ? precision : throw new FormatException(problem);
    }

    public static bool TryParse([NotNullWhen(true)] string? text, out Precision precision) =>
        Explain(text, out precision) is null;

    public override string ToString() => IsBaseline ? "fp16" : $"w{WeightBits}a{ActivationBits}";

    /// <returns>null when the text is a supported precision, else what to tell the user.</returns>
    private static string? Explain(string? text, out Precision precision)
    {
        precision = default;
        var name = (text ?? "").Trim().ToLowerInvariant();
        var plus = name.IndexOf('+', StringComparison.Ordinal);
        foreach (var known in All)
        {
            if ((plus < 0 ? name : name[..plus]) != known.ToString())
                continue;
            if (plus >= 0)
                return $"precision '{text}': the option '{name[plus..]}' is not supported yet by this version; use '{known}'";
            precision = known;
            return null;
        }

        return $"unknown precision '{text}'; this version supports {string.Join(", ", All)}";
    }
}
