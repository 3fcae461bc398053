using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>A value with its standard error; null where one window gives none.</summary>
public sealed record Estimate(double Value, double? StandardError);

/// <summary>Perplexity from negative log-likelihoods (nats), one array a window, all of the same length.</summary>
public static class PerplexityFigures
{
    /// <summary>
    /// exp of the mean NLL. Windows have equally many targets, so gptq's mean of window means and llama.cpp's mean over
    /// targets are the same number. The error treats windows, not tokens, as independent (clustered by window):
    /// exp(mean) times the standard error of the window means.
    /// </summary>
    public static Estimate Perplexity(IReadOnlyList<float[]> windows)
    {
        var (mean, error) = Statistics.MeanWithError([.. windows.Select(Mean)]);
        return new Estimate(Math.Exp(mean), error * Math.Exp(mean));
    }

    /// <summary>Percent: 100 * (exp(mean paired NLL difference) - 1) on identical windows, its error clustered by window.</summary>
    /// <exception cref="ArgumentException">The two have different windows.</exception>
    public static Estimate DeltaPercent(IReadOnlyList<float[]> windows, IReadOnlyList<float[]> baseline)
    {
        if (windows.Count != baseline.Count || windows.Zip(baseline).Any(p => p.First.Length != p.Second.Length))
            throw new ArgumentException("a difference in perplexity compares identical windows only", nameof(baseline));
        var (mean, error) = Statistics.MeanWithError([.. windows.Zip(baseline, (a, b) => Mean(a) - Mean(b))]);
        return new Estimate(100 * (Math.Exp(mean) - 1), 100 * error * Math.Exp(mean));
    }

    /// <summary>
    /// The perplexity of those targets only whose predicting position survived pruning, as the paper's authors score it, and fp16's on the
    /// very same targets. Windows keep different numbers of them, so the conventions differ: gptq's exp of the mean of window
    /// means (windows without survivors are left out), llama.cpp's exp of the mean over all kept targets. Null: nothing survived.
    /// </summary>
    /// <param name="windows">NLLs of the pruned run.</param>
    /// <param name="masks">A byte a target, not 0 where its predicting position survived.</param>
    /// <param name="baseline">fp16 NLLs of the same windows; null: not there (yet).</param>
    /// <param name="byWindow">gptq's mean of window means.</param>
    /// <exception cref="ArgumentException">The three have different windows.</exception>
    public static SurvivorView? OnSurvivors(
        IReadOnlyList<float[]> windows, IReadOnlyList<byte[]> masks, IReadOnlyList<float[]>? baseline, bool byWindow)
    {
        if (!SameShape(windows, masks) || (baseline is not null && !SameShape(baseline, masks)))
            throw new ArgumentException("survivors belong to identical windows only", nameof(masks));
        var kept = masks.Sum(m => m.LongCount(b => b != 0));
        if (kept == 0)
            return null;
        double Perplexity(IReadOnlyList<float[]> nlls)
        {
            var sums = nlls.Zip(masks, (nll, mask) => (Sum: nll.Where((_, i) => mask[i] != 0).Sum(x => (double)x), Count: mask.Count(b => b != 0)));
            return byWindow
                ? Math.Exp(sums.Where(w => w.Count > 0).Average(w => w.Sum / w.Count))
                : Math.Exp(sums.Sum(w => w.Sum) / kept);
        }

        return new SurvivorView(Perplexity(windows), baseline is null ? null : Perplexity(baseline), (double)kept / masks.Sum(m => m.LongLength));
    }

    private static bool SameShape(IReadOnlyList<float[]> nlls, IReadOnlyList<byte[]> masks) =>
        nlls.Count == masks.Count && nlls.Zip(masks).All(p => p.First.Length == p.Second.Length);

    /// <summary>For instance <c>llama.cpp-512[0:8]</c> or <c>llama.cpp-512[all 192]</c>.</summary>
    public static string Name(string convention, int windows, bool all) => all ? $"{convention}[all {windows}]" : $"{convention}[0:{windows}]";

    public static double Mean(float[] window) => window.Average(x => (double)x);
}
