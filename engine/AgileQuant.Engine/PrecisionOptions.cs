using System.Globalization;

namespace AgileQuant.Engine;

/// <summary>Power-of-two channel factors of activations (TRIP).</summary>
public enum TripMode
{
    None,

    /// <summary>Calibrated factors, a scale for each token.</summary>
    Dynamic,

    /// <summary>Calibrated factors, scale and zero point, as in the paper.</summary>
    Static,
}

/// <summary>How attention probabilities are quantized.</summary>
public enum ProbabilityFormat
{
    /// <summary>fp32, as softmax gives them.</summary>
    Full,

    /// <summary>Powers of two, 4 bits.</summary>
    Log2,

    /// <summary>Multiples of 1/15, 4 bits.</summary>
    Uniform,
}

/// <summary>How unimportant tokens leave a sequence.</summary>
public enum PruneMode
{
    None,

    /// <summary>A calibrated threshold per layer on the token's own importance: causal, positions are kept.</summary>
    Threshold,

    /// <summary>The paper's: a share of the prompt's rows leaves, survivors get compacted positions.</summary>
    Paper,
}

/// <summary>What stands behind the base of a precision's name (docs/packed-model.md, "Precision names").</summary>
public sealed record PrecisionOptions
{
    public static readonly PrecisionOptions None = new();

    /// <summary>Weights are rounded by GPTQ.</summary>
    public bool Gptq { get; init; }

    /// <summary>int4 weights have a zero point a group.</summary>
    public bool Asymmetric { get; init; }

    public TripMode Trip { get; init; }

    /// <summary>Sensitive linear inputs keep 8-bit activations.</summary>
    public bool Mixed { get; init; }

    /// <summary>null: the default of the base.</summary>
    public ProbabilityFormat? Probabilities { get; init; }

    /// <summary>Share of tokens that carries 4-bit activations; 0: none.</summary>
    public decimal LowRatio { get; init; }

    public PruneMode Prune { get; init; }

    /// <summary>Share of tokens that has left at the last layer; 0 without pruning.</summary>
    public decimal PruneRatio { get; init; }

    /// <summary>Keys and values are kept in int8.</summary>
    public bool Int8KeyValues { get; init; }

    /// <summary>The options in canonical order, each with a plus sign before it; empty for none.</summary>
    public override string ToString() => string.Concat(Names().Select(n => "+" + n));

    private IEnumerable<string> Names()
    {
        if (Gptq)
            yield return "gptq";
        if (Asymmetric)
            yield return "asym";
        if (Trip != TripMode.None)
            yield return Trip == TripMode.Static ? "trip-static" : "trip";
        if (Mixed)
            yield return "mixed";
        if (Probabilities is { } probabilities)
            yield return NameOf(probabilities);
        if (LowRatio > 0)
            yield return "low" + LowRatio.ToString("0.###", CultureInfo.InvariantCulture);
        if (Prune != PruneMode.None)
            yield return (Prune == PruneMode.Paper ? "prune-paper" : "prune") + PruneRatio.ToString("0.###", CultureInfo.InvariantCulture);
        if (Int8KeyValues)
            yield return "kv8";
    }

    /// <summary>The option's name, as people write it.</summary>
    internal static string NameOf(ProbabilityFormat format) => format switch
    {
        ProbabilityFormat.Log2 => "log2",
        ProbabilityFormat.Uniform => "uniform",
        _ => "softmax",
    };
}
