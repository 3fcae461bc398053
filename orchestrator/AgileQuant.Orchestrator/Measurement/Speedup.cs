using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>Speedup over the fp16 blocks of the same rounds.</summary>
public static class Speedup
{
    /// <summary>Fewer pairs give a ratio without an interval.</summary>
    public const int LeastPairs = 6;

    public const string TooFewBlocks = "too few blocks for an interval";

    private const int Resamples = 4000;

    /// <summary>
    /// Geometric mean of the paired ratios; its 95% interval by a percentile bootstrap over pairs on log ratios
    /// (B. Efron, R. Tibshirani: An Introduction to the Bootstrap, chapter 13). Seeded: the same samples give the same interval.
    /// </summary>
    /// <param name="pairs">Rate of the precision and rate of fp16, one pair a round; all above 0.</param>
    /// <param name="seed">Seed of the resampling.</param>
    /// <returns>Null when there is no pair.</returns>
    public static SpeedupView? Of(IReadOnlyList<(double Rate, double Baseline)> pairs, ulong seed = 1)
    {
        if (pairs.Count == 0)
            return null;
        var logs = pairs.Select(p => Math.Log(p.Rate / p.Baseline)).ToArray();
        var ratio = Math.Exp(logs.Average());
        if (pairs.Count < LeastPairs)
            return new SpeedupView(ratio, null, null, pairs.Count);
        var means = new double[Resamples];
        var state = seed;
        for (var i = 0; i < Resamples; i++)
        {
            double sum = 0;
            for (var k = 0; k < logs.Length; k++)
                sum += logs[(int)(Next(ref state) % (ulong)logs.Length)];
            means[i] = sum / logs.Length;
        }

        Array.Sort(means);
        return new SpeedupView(ratio, Math.Exp(Quantile(means, 0.025)), Math.Exp(Quantile(means, 0.975)), pairs.Count);
    }

    private static double Quantile(double[] sorted, double q)
    {
        var at = q * (sorted.Length - 1);
        var low = (int)at;
        return sorted[low] + (at - low) * (sorted[Math.Min(low + 1, sorted.Length - 1)] - sorted[low]);
    }

    /// <summary>SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same on every platform and runtime.</summary>
    private static ulong Next(ref ulong state)
    {
        state += 0x9E3779B97F4A7C15;
        var z = state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
