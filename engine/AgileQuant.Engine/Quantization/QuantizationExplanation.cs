using AgileQuant.Engine.Calibration;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine;

/// <summary>What quantization did to one linear.</summary>
/// <param name="Name">As in GGUF, without <c>.weight</c>.</param>
/// <param name="Layer">Its layer.</param>
/// <param name="Input">Its input: <c>attn_in</c>, <c>attn_out</c>, <c>ffn_in</c> or <c>ffn_mid</c>.</param>
/// <param name="WeightBits">Of the stored weights.</param>
/// <param name="ActivationBits">Of the input.</param>
/// <param name="RelativeError">
/// <c>|Y' - Y|^2 / |Y|^2</c> over the calibration tokens: Y' of the quantized model up to here, Y of the model in fp32.
/// </param>
/// <param name="OutlierChannels">Channels of the input whose largest value is over 6 times the median channel's.</param>
/// <param name="LargestExponent">TRIP's K that is used: the largest exponent of a channel; 0 without factors.</param>
/// <param name="ScaledChannels">Channels with a factor other than 1.</param>
/// <param name="Mode"><c>none</c>, <c>folded</c> or <c>shifted</c>.</param>
/// <param name="Bytes">In the pack, scales and zero points included.</param>
public sealed record LinearExplanation(
    string Name, int Layer, string Input, int WeightBits, int ActivationBits, double RelativeError, int OutlierChannels,
    int LargestExponent, int ScaledChannels, string Mode, long Bytes);

/// <summary>What happened to the tokens in one layer.</summary>
/// <param name="Layer">Its number.</param>
/// <param name="RowShare">Calibration tokens that are left after its attention.</param>
/// <param name="LowShare">Of those, tokens that carry 4-bit activations.</param>
/// <param name="StreamError">Error of the residual stream after it: <c>|S' - S|^2 / |S|^2</c>.</param>
public sealed record LayerExplanation(int Layer, double RowShare, double LowShare, double StreamError);

/// <summary>What a recipe does to a model, measured on its calibration text.</summary>
/// <param name="Recipe">The recipe.</param>
/// <param name="Tokens">Calibration tokens.</param>
/// <param name="Linears">In file order.</param>
/// <param name="Layers">In order.</param>
/// <param name="Perplexity">Of the quantized model on (part of) the calibration text, all tokens.</param>
/// <param name="FullPerplexity">Of the model in fp32 on the same tokens.</param>
public sealed record QuantizationExplanation(
    PackRecipe Recipe, int Tokens, IReadOnlyList<LinearExplanation> Linears, IReadOnlyList<LayerExplanation> Layers,
    double Perplexity, double FullPerplexity)
{
    /// <summary>How the layers for <c>prune</c> and <c>low</c> were chosen; empty for other recipes.</summary>
    public IReadOnlyList<SearchExplanation> Searches { get; init; } = [];

    /// <summary>Measures a recipe without packing it.</summary>
    /// <param name="canonicalGguf">What <see cref="ModelImporter"/> wrote.</param>
    /// <param name="recipe">A recipe of int weights.</param>
    /// <param name="text">Calibration text, also for a recipe that chooses nothing by it.</param>
    /// <param name="calibration">The part of the text that is used.</param>
    /// <param name="progress">0 to 1.</param>
    /// <param name="cancellation">Stops between the inputs of a layer.</param>
    /// <exception cref="CalibrationException">The text does not fit the recipe or the model.</exception>
    /// <exception cref="ArgumentException">The recipe has 16-bit weights: there is nothing to explain.</exception>
    public static QuantizationExplanation Of(
        string canonicalGguf, PackRecipe recipe, TokenData text, CalibrationText calibration, IProgress<double>? progress = null,
        CancellationToken cancellation = default)
    {
        if (recipe.Precision.Is16Bit)
            throw new ArgumentException($"{recipe.Precision} quantizes nothing that could be explained", nameof(recipe));
        using var file = GgufFile.Open(canonicalGguf);
        var model = new ModelWeights(file, ModelShape.FromGguf(file));
        var (plan, calibrator) = CalibrationRun.Run(model, recipe.CalibratedOn(calibration), text, _ => { }, progress, cancellation);
        return CalibrationRun.Explain(recipe, calibration, plan, calibrator);
    }
}
