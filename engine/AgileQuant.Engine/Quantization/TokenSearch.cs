using System.Globalization;
using AgileQuant.Engine.Calibration;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Quantization;

/// <summary>
/// The layers in which tokens leave (<c>prune</c>, <c>prune-paper</c>) or become cheap (<c>low</c>), by what it costs on calibration text.
/// Only ways that save as much work as the plain one compete: pruning in the last layer alone would always lose least and save nothing.
/// </summary>
internal static class TokenSearch
{
    private const int Windows = 8;
    private const double MostLow = 0.95;
    private const int MostStarts = 5;

    /// <param name="model">The canonical model.</param>
    /// <param name="recipe">With one of the three.</param>
    /// <param name="windows">Calibration windows; a few are used.</param>
    /// <param name="options">Of the probes: how inputs are quantized.</param>
    /// <param name="progress">0 to 1.</param>
    /// <param name="cancellation">Stops between inputs of a layer.</param>
    /// <returns>The plan, and what was compared.</returns>
    public static (TokenPlan Plan, IReadOnlyList<SearchExplanation> Searches) Choose(
        ModelWeights model, PackRecipe recipe, int[][] windows, CalibratorOptions options, IProgress<double>? progress, CancellationToken cancellation)
    {
        var shape = model.Shape;
        var choices = recipe.Precision.Options;
        var all = new TokenPlan(new float[shape.Layers], PruningPlan.KeepShares(shape.Layers, 0));
        var plain = TokenPlan.Plain(shape.Layers, choices);
        var (plan, searches) = (all, new List<SearchExplanation>());
        if (choices.Prune != PruneMode.None)
        {
            Compare("prune", [.. PruningPlan.Candidates(shape, (double)choices.PruneRatio).Select(c => new TokenPlan(
                plain.LowShares, PruningPlan.KeepShares(shape.Layers, (double)choices.PruneRatio, c.First, c.Count)))], p => p.Work(shape), Layers);
        }

        if (choices.LowRatio > 0)
        {
            var keep = plan.KeepShares;
            Compare("low", [.. LowCandidates(shape.Layers, (double)choices.LowRatio).Select(low => new TokenPlan(low, keep))],
                p => p.LowShares.Average() * Coarse(shape), p => Low(p.LowShares));
        }

        return (plan, searches);

        void Compare(string what, TokenPlan[] candidates, Func<TokenPlan, double> work, Func<TokenPlan, string> layers)
        {
            var few = Probe.Few(windows, ScanSize.WindowsFor(shape, Windows, windows[0].Length, candidates.Sum(c => 1.0 - (double)c.FirstLayer / shape.Layers)), int.MaxValue);
            var probe = new Probe(model, recipe, few, options with { Tokens = all });
            var variants = candidates.Select(c => (c.FirstLayer, options with { Tokens = c })).Append((shape.Layers, options with { Tokens = all }));
            var nlls = probe.Measure([.. variants], progress, cancellation);
            var best = Array.IndexOf(nlls, nlls[..candidates.Length].Min());
            plan = candidates[best];
            searches.Add(new SearchExplanation(what, few.Sum(w => w.Length), [.. candidates.Select((c, i) =>
                new SearchedOption(layers(c), nlls[i] - nlls[^1], work(c), i == best))]));
        }
    }

    /// <summary>
    /// Shares that make the same part of the work 4-bit: the ratio in all layers; more, from a later layer on; and one that rises through
    /// all layers.
    /// </summary>
    /// <returns>Each <c>[layers]</c>; the ratio in all layers first.</returns>
    internal static IReadOnlyList<float[]> LowCandidates(int layers, double ratio)
    {
        var latest = (int)Math.Floor(layers * (1 - ratio / MostLow));
        var starts = Enumerable.Range(0, MostStarts).Select(i => (int)((long)i * latest / (MostStarts - 1))).Distinct();
        var found = starts.Select(first => Shares(l => l < first ? 0 : ratio * layers / (layers - first))).ToList();
        var rise = 2 * ratio / (layers + 1);
        if (rise * layers <= MostLow && layers > 1)
            found.Add(Shares(l => rise * (l + 1)));
        return found;

        float[] Shares(Func<int, double> share) => [.. Enumerable.Range(0, layers).Select(l => (float)share(l))];
    }

    /// <summary>Share of a layer's multiply-adds at the places that go by whether a token is low.</summary>
    private static double Coarse(ModelShape shape)
    {
        var costs = LayerCosts.Of(shape);
        return 1 - costs[0] / costs.Sum();
    }

    private static string Layers(TokenPlan plan)
    {
        var layers = plan.PruningLayers;
        return layers.Count == 0 ? "none" : string.Create(
            CultureInfo.InvariantCulture, $"{layers[0]}-{layers[^1]}: {1 - plan.KeepShares[layers[0]]:0.0%} each");
    }

    private static string Low(float[] shares)
    {
        var first = Array.FindIndex(shares, s => s > 0);
        return string.Create(CultureInfo.InvariantCulture, $"{first}-{shares.Length - 1}: {shares[first]:0.0%}")
            + (shares[^1] > shares[first] ? string.Create(CultureInfo.InvariantCulture, $" rising to {shares[^1]:0.0%}") : "");
    }
}
