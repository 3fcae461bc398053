using AgileQuant.Engine.Calibration;

namespace AgileQuant.Engine.Quantization;

/// <summary>
/// Which linear inputs <c>mixed</c> keeps at 8-bit activations: those whose 4-bit quantization costs most NLL on the calibration text for
/// their share of the multiply-adds. Each is raised to 8 bits alone, all others staying at 4.
/// </summary>
internal static class SensitivityScan
{
    /// <summary>Share of the layers' multiply-adds that may have 8-bit activations.</summary>
    public const double Budget = 0.15;

    private const int Windows = 8;
    private const int Context = 256;

    /// <param name="model">The canonical model.</param>
    /// <param name="recipe">With <c>mixed</c>.</param>
    /// <param name="windows">Calibration windows; the beginnings of a few are used.</param>
    /// <param name="progress">Share of the inputs that is measured.</param>
    /// <param name="cancellation">Stops between layers.</param>
    /// <returns>Layer and place of each input to keep, in file order.</returns>
    public static IReadOnlyList<(int Layer, int Place)> Choose(
        ModelWeights model, PackRecipe recipe, int[][] windows, IProgress<double>? progress, CancellationToken cancellation)
    {
        var few = Enumerable.Range(0, Math.Min(Windows, windows.Length))
            .Select(i => windows[(int)((long)i * windows.Length / Math.Min(Windows, windows.Length))])
            .Select(ids => ids[..Math.Min(Context, ids.Length)]).ToArray();
        var options = new CalibratorOptions { WithoutGptq = true, QuantizedOnly = true };
        var (plan, all4) = Measure(options);
        options = options with { Inputs = plan.Inputs };
        var gains = new List<(int Layer, int Place, double Gain, double Cost)>();
        var costs = Costs(model.Shape);
        for (var layer = 0; layer < model.Shape.Layers; layer++)
        {
            for (var place = 0; place < costs.Length; place++)
            {
                cancellation.ThrowIfCancellationRequested();
                gains.Add((layer, place, all4 - Measure(options with { Kept = [(layer, place)] }).Nll, costs[place]));
                progress?.Report((double)gains.Count / (model.Shape.Layers * costs.Length));
            }
        }

        return Pick(gains, Budget * model.Shape.Layers * costs.Sum());

        (QuantizationPlan Plan, double Nll) Measure(CalibratorOptions with)
        {
            var calibrator = new Calibrator(model, recipe, few, with, _ => { });
            var found = calibrator.Run(null, cancellation);
            return (found, calibrator.Score(Enumerable.Range(0, few.Length)).Quantized.Average(w => w.Average(x => (double)x)));
        }
    }

    /// <summary>The most gain for its cost first, as long as it fits; nothing that gains nothing.</summary>
    internal static IReadOnlyList<(int Layer, int Place)> Pick(
        IEnumerable<(int Layer, int Place, double Gain, double Cost)> inputs, double budget)
    {
        var kept = new List<(int Layer, int Place)>();
        foreach (var input in inputs.Where(i => i.Gain > 0).OrderByDescending(i => i.Gain / i.Cost).ThenBy(i => i.Layer).ThenBy(i => i.Place))
        {
            if (input.Cost > budget)
                continue;
            budget -= input.Cost;
            kept.Add((input.Layer, input.Place));
        }

        return [.. kept.Order()];
    }

    /// <summary>Multiply-adds a token behind each input of a layer.</summary>
    private static double[] Costs(Import.ModelShape shape)
    {
        double dim = shape.Dimension, kv = (double)shape.KvHeads * shape.HeadDimension, ffn = shape.FeedForward;
        return [dim * (dim + 2 * kv), dim * dim, dim * ffn * (shape.Activation == Import.ActivationKind.SwiGlu ? 2 : 1), ffn * dim];
    }
}
