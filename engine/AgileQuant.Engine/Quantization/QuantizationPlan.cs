using AgileQuant.Engine.Calibration;

namespace AgileQuant.Engine.Quantization;

/// <summary>What calibration decided about a model: its quantized linears, how their inputs are quantized, and the thresholds.</summary>
internal sealed class QuantizationPlan(int layers)
{
    /// <summary>Places of the linear inputs of a layer, in the order of <c>agilequant.activation_limits</c>.</summary>
    public static readonly string[] InputNames = ["attn_in", "attn_out", "ffn_in", "ffn_mid"];

    /// <summary><c>[layers][4]</c></summary>
    public InputPlan[][] Inputs { get; } = [.. Enumerable.Range(0, layers).Select(_ => new InputPlan[InputNames.Length])];

    /// <summary>Importance below which a token carries 4-bit activations; null: none does.</summary>
    public StartThresholds? LowThresholds { get; set; }

    /// <summary>Importance below which a token leaves; null: not pruned by thresholds.</summary>
    public StartThresholds? PruneThresholds { get; set; }

    /// <summary>The shares that the thresholds are for.</summary>
    public TokenPlan Tokens { get; set; } = TokenPlan.Plain(layers, PrecisionOptions.None);

    /// <summary>Inputs that <c>mixed</c> keeps at 8 bits, as layer and place; null: not mixed.</summary>
    public IReadOnlyList<(int Layer, int Place)>? Kept { get; set; }

    /// <summary>What was compared on the way; empty where nothing was.</summary>
    public IReadOnlyList<SearchExplanation> Searches { get; set; } = [];

    /// <summary>How the inputs that <c>mixed</c> keeps were measured; null: not mixed.</summary>
    public ScanSize? Scan { get; set; }

    /// <summary>What <see cref="QuantizationExplanation"/> shows.</summary>
    public List<LinearExplanation> Linears { get; } = [];

    public List<LayerExplanation> Layers { get; } = [];
}
