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

    /// <summary>For instance <c>llama.cpp-512[0:8]</c> or <c>llama.cpp-512[all 192]</c>.</summary>
    public static string Name(string convention, int windows, bool all) => all ? $"{convention}[all {windows}]" : $"{convention}[0:{windows}]";

    public static double Mean(float[] window) => window.Average(x => (double)x);
}
