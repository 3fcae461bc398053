using AgileQuant.Engine.Calibration;

namespace AgileQuant.Engine.Quantization;

/// <summary>What calibration decided about a model: its quantized linears, how their inputs are quantized, and the thresholds.</summary>
internal sealed class QuantizationPlan(int layers)
{
    /// <summary>Places of the linear inputs of a layer, in the order of <c>agilequant.activation_limits</c>.</summary>
    public static readonly string[] InputNames = ["attn_in", "attn_out", "ffn_in", "ffn_mid"];

    /// <summary><c>[layers][4]</c></summary>
    public InputPlan[][] Inputs { get; } = [.. Enumerable.Range(0, layers).Select(_ => new InputPlan[InputNames.Length])];

    /// <summary>Importance below which a token carries 4-bit activations, <c>[layers]</c>; null: none does.</summary>
    public float[]? LowThresholds { get; set; }

    /// <summary>Importance below which a token leaves, <c>[layers]</c>; null: not pruned by thresholds.</summary>
    public float[]? PruneThresholds { get; set; }

    /// <summary>Inputs that <c>mixed</c> keeps at 8 bits, as layer and place; null: not mixed.</summary>
    public IReadOnlyList<(int Layer, int Place)>? Kept { get; set; }

    /// <summary>What <see cref="QuantizationExplanation"/> shows.</summary>
    public List<LinearExplanation> Linears { get; } = [];

    public List<LayerExplanation> Layers { get; } = [];
}
