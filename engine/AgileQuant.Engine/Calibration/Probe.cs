namespace AgileQuant.Engine.Calibration;

/// <summary>
/// What variants of a recipe score on a few calibration windows, linears rounded to nearest. One pass goes through the model; a variant
/// leaves it at the first layer in which it differs, so that no layer is computed twice for nothing.
/// </summary>
internal sealed class Probe(ModelWeights model, PackRecipe recipe, int[][] windows, CalibratorOptions trunk)
{
    private readonly CalibratorOptions _trunk = trunk with { WithoutGptq = true, QuantizedOnly = true };

    /// <param name="variants">First layer that differs from the trunk, and the variant's options; a layer behind the last is the trunk itself.</param>
    /// <param name="progress">Share of the variants that is measured.</param>
    /// <param name="cancellation">Stops between inputs of a layer.</param>
    /// <returns>Mean NLL of every target of each variant, pruned ones included.</returns>
    public double[] Measure(
        IReadOnlyList<(int FirstLayer, CalibratorOptions Options)> variants, IProgress<double>? progress, CancellationToken cancellation)
    {
        var nlls = new double[variants.Count];
        var done = 0;
        var pass = new Calibrator(model, recipe, windows, _trunk, _ => { });
        for (var layer = 0; ; layer++)
        {
            for (var v = 0; v < variants.Count; v++)
            {
                if (variants[v].FirstLayer != layer)
                    continue;
                var fork = pass.Fork(variants[v].Options with { WithoutGptq = true });
                fork.Run(null, cancellation);
                nlls[v] = fork.Score(Enumerable.Range(0, windows.Length)).Quantized.SelectMany(w => w).Average(x => (double)x);
                progress?.Report((double)++done / variants.Count);
            }

            if (layer == model.Shape.Layers || done == variants.Count)
                return nlls;
            pass.Step(cancellation);
        }
    }

    /// <summary>A few windows, spread evenly over those there are; those that begin with BOS and others in turn, where there are both.</summary>
    /// <param name="windows">Windows, of both kinds in turn.</param>
    /// <param name="count">So many at most.</param>
    /// <param name="context">Their beginnings, so many ids at most.</param>
    public static int[][] Few(int[][] windows, int count, int context)
    {
        count = Math.Min(count, windows.Length);
        return [.. Enumerable.Range(0, count).Select(i =>
        {
            var at = (int)((long)i * windows.Length / count);
            if (at % 2 != i % 2 && at + 1 < windows.Length)
                at++;
            return windows[at][..Math.Min(context, windows[at].Length)];
        })];
    }
}
