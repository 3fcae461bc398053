using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Calibration;

/// <summary>What is tried in experiments and probes; the defaults are the product's.</summary>
internal sealed record CalibratorOptions
{
    /// <summary>The last so many windows are carried along and not learned from.</summary>
    public int ValidationWindows { get; init; }

    public double Damping { get; init; } = 0.01;

    /// <summary>Share of the drift of inputs that GPTQ makes good for.</summary>
    public float Drift { get; init; } = 1;

    /// <summary>Round to nearest whatever the recipe says: for probes.</summary>
    public bool WithoutGptq { get; init; }

    /// <summary>No pass in fp32, and so no errors, no drift and no fp32 score: for probes.</summary>
    public bool QuantizedOnly { get; init; }

    /// <summary>How inputs are quantized, chosen before; null: chosen here.</summary>
    public InputPlan[][]? Inputs { get; init; }

    /// <summary>Tokens that TRIP's candidates are compared on.</summary>
    public int TripSamples { get; init; } = TripChooser.DefaultSamples;

    /// <summary>Inputs that keep 8 bits, as layer and place.</summary>
    public IReadOnlyList<(int Layer, int Place)>? Kept { get; init; }

    /// <summary>The linears of those inputs keep int8 weights too.</summary>
    public bool KeptWeights8 { get; init; }

    /// <summary>The id that windows begin with as prompts do: they and the others have thresholds of their own; null: all are alike.</summary>
    public int? StartToken { get; init; }

    /// <summary>Where tokens become cheap or leave; null: where <see cref="TokenPlan.Plain"/> has it.</summary>
    public TokenPlan? Tokens { get; init; }
}
