using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>A finished timing block: nanoseconds of each counted repetition of <paramref name="Tokens"/> tokens.</summary>
/// <param name="Attempt">The attempt that ran it: blocks of different attempts ran under different conditions and are never paired.</param>
public sealed record TimedBlock(int Index, int Round, string Precision, string Kind, int Tokens, IReadOnlyList<long> Nanoseconds, long? PeakRss, Guid Attempt = default)
{
    /// <summary>Tokens a second of each repetition.</summary>
    public IEnumerable<double> Rates => Nanoseconds.Select(ns => Tokens * 1e9 / ns);

    public double MedianRate => Statistics.Median(Rates);
}

/// <summary>From timing blocks to the figures of one precision.</summary>
public static class SpeedFigures
{
    /// <param name="precision">Which precision.</param>
    /// <param name="blocks">All finished blocks of the job, every precision, in plan order.</param>
    /// <param name="baselineProblem">Why there is no baseline; null: there is one.</param>
    /// <param name="isa">Kernel set that ran.</param>
    /// <param name="threads">Threads that ran.</param>
    public static SpeedView Of(string precision, IReadOnlyList<TimedBlock> blocks, string? baselineProblem, string isa, int threads)
    {
        var own = blocks.Where(b => b.Precision == precision).OrderBy(b => b.Index).ToList();
        return new SpeedView(
            Rate(precision, "prefill", blocks, baselineProblem), Rate(precision, "generate", blocks, baselineProblem),
            own.Max(b => b.PeakRss), isa, threads);
    }

    private static RateView? Rate(string precision, string kind, IReadOnlyList<TimedBlock> blocks, string? baselineProblem)
    {
        var own = blocks.Where(b => b.Precision == precision && b.Kind == kind && b.Nanoseconds.Count > 0).OrderBy(b => b.Index).ToList();
        if (own.Count == 0)
            return null;
        var rates = own.SelectMany(b => b.Rates).ToList();
        var (speedup, note) = SpeedupOf(precision, kind, own, blocks, baselineProblem);
        return new RateView(
            Statistics.Median(rates), MadPercent(rates), rates.Count, Statistics.Outliers(rates).Count(o => o),
            own[0].MedianRate, Sustained(rates), speedup, note);
    }

    /// <summary>Median absolute deviation, percent of the median.</summary>
    public static double MadPercent(IReadOnlyCollection<double> rates) => 100 * Statistics.Mad(rates) / Statistics.Median(rates);

    /// <summary>Median of the last third (rounded up) of the repetitions, in the order they ran.</summary>
    public static double Sustained(IReadOnlyList<double> rates) => Statistics.Median(rates.Skip(rates.Count - (rates.Count + 2) / 3));

    private static (SpeedupView? Speedup, string? Note) SpeedupOf(
        string precision, string kind, List<TimedBlock> own, IReadOnlyList<TimedBlock> blocks, string? baselineProblem)
    {
        if (precision == "fp16")
            return (null, "this is the baseline");
        if (baselineProblem is not null)
            return (null, baselineProblem);
        var baseline = blocks.Where(b => b.Precision == "fp16" && b.Kind == kind && b.Nanoseconds.Count > 0)
            .GroupBy(b => (b.Round, b.Attempt)).ToDictionary(g => g.Key, g => g.First());
        var pairs = own.Where(b => baseline.ContainsKey((b.Round, b.Attempt)))
            .Select(b => (b.MedianRate, baseline[(b.Round, b.Attempt)].MedianRate)).ToList();
        var speedup = Speedup.Of(pairs);
        return (speedup, speedup switch
        {
            null => "no fp16 block of the same attempt to compare with",
            { Low: null } => Speedup.TooFewBlocks,
            _ => null,
        });
    }
}
