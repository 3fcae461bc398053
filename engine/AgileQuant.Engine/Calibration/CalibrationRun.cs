using AgileQuant.Engine.Import;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Calibration;

/// <summary>A whole calibration: the windows of a text, the searches for layers and inputs, the pass that quantizes.</summary>
internal static class CalibrationRun
{
    private const int ScoredWindows = 8;
    private const int ProbeTripSamples = 256;

    /// <param name="model">The canonical model.</param>
    /// <param name="recipe">The recipe; its calibration text must be <paramref name="text"/>.</param>
    /// <param name="text">The text.</param>
    /// <param name="store">Takes each linear when it is quantized.</param>
    /// <param name="progress">0 to 1.</param>
    /// <param name="cancellation">Stops between the inputs of a layer.</param>
    /// <exception cref="CalibrationException">The text does not fit the recipe or the model.</exception>
    public static (QuantizationPlan Plan, Calibrator Calibrator) Run(
        ModelWeights model, PackRecipe recipe, TokenData text, Action<QuantizedLinear> store, IProgress<double>? progress,
        CancellationToken cancellation)
    {
        var windows = Windows(model.Shape, recipe.Calibration!, text);
        var choices = recipe.Precision.Options;
        var searchesTokens = choices.Prune != PruneMode.None || choices.LowRatio > 0;
        var (scan, share) = ((ScanSize?)null, 0.0);
        var options = new CalibratorOptions { StartToken = text.AddsBos && text.BosId >= 0 ? text.BosId : null };
        var searches = (IReadOnlyList<SearchExplanation>)[];
        var probes = searchesTokens || choices.Mixed ? ProbeOptions(model, recipe, windows, options, cancellation) : options;
        if (searchesTokens)
        {
            (var tokens, searches) = TokenSearch.Choose(model, recipe, windows, probes, Part(progress, 0, 0.25), cancellation);
            (options, probes, share) = (options with { Tokens = tokens }, probes with { Tokens = tokens }, 0.25);
        }

        if (choices.Mixed)
        {
            (var kept, scan) = SensitivityScan.Choose(model, recipe, windows, probes, Part(progress, share, 0.5), cancellation);
            (options, share) = (options with { Kept = kept }, 0.5);
        }

        var calibrator = new Calibrator(model, recipe, windows, options, store);
        var plan = calibrator.Run(Part(progress, share, 1), cancellation);
        (plan.Searches, plan.Scan) = (searches, scan);
        return (plan, calibrator);
    }

    /// <summary>TRIP's factors for all probes, chosen once, with every token there and none low.</summary>
    private static CalibratorOptions ProbeOptions(
        ModelWeights model, PackRecipe recipe, int[][] windows, CalibratorOptions options, CancellationToken cancellation)
    {
        var layers = model.Shape.Layers;
        options = options with { WithoutGptq = true, QuantizedOnly = true, TripSamples = ProbeTripSamples };
        if (recipe.Precision.Options.Trip == TripMode.None)
            return options;
        var all = options with { Tokens = TokenPlan.Plain(layers, PrecisionOptions.None) };
        return options with { Inputs = new Calibrator(model, recipe, Probe.Few(windows, 8, 256), all, _ => { }).Run(null, cancellation).Inputs };
    }

    /// <summary>What the run shows.</summary>
    public static QuantizationExplanation Explain(PackRecipe recipe, CalibrationText calibration, QuantizationPlan plan, Calibrator calibrator)
    {
        var (quantized, full) = calibrator.Score(Enumerable.Range(0, Math.Min(ScoredWindows, calibration.Windows)));
        return new QuantizationExplanation(
            recipe, calibration.Windows * calibration.Context, plan.Linears, plan.Layers, Perplexity(quantized), Perplexity(full))
        {
            Searches = plan.Searches,
        };
    }

    private static int[][] Windows(ModelShape shape, CalibrationText calibration, TokenData text)
    {
        if (TokenFile.HashOf(text) != calibration.TokensSha256)
            throw new CalibrationException($"the recipe is calibrated on the token file {calibration.TokensSha256}; another text was given");
        if (text.VocabularySize != shape.VocabularySize)
        {
            throw new CalibrationException($"the calibration text is for a vocabulary of {text.VocabularySize}, the model has "
                + $"{shape.VocabularySize}: tokenize it for this model");
        }

        if (calibration.Context > shape.ContextLength)
            throw new CalibrationException($"the recipe calibrates on windows of {calibration.Context} ids; the model's context is {shape.ContextLength}");
        return calibration.WindowsOf(text);
    }

    private static double Perplexity(float[][] nlls) => Math.Exp(nlls.Average(w => w.Average(x => (double)x)));

    private static Progress<double>? Part(IProgress<double>? progress, double from, double to) =>
        progress is null ? null : new SynchronousProgress(value => progress.Report(from + value * (to - from)));

    /// <summary>Reports on the thread that works, in order.</summary>
    private sealed class SynchronousProgress(Action<double> report) : Progress<double>
    {
        protected override void OnReport(double value) => report(value);
    }
}
