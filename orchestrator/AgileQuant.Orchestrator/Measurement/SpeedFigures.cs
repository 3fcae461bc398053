using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>A finished timing block: nanoseconds of each counted repetition of <paramref name="Tokens"/> tokens.</summary>
/// <param name="Attempt">The attempt that ran it: blocks of different attempts ran under different conditions and are never paired.</param>
/// <param name="RowShare">Of a pruned pack: rows x layers that ran, as a share of all.</param>
public sealed record TimedBlock(
    int Index, int Round, string Precision, string Kind, int Tokens, IReadOnlyList<long> Nanoseconds, long? PeakRss, Guid Attempt = default,
    double? RowShare = null)
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
        var own = Of(precision, kind, blocks);
        if (own.Count == 0)
            return null;
        var best = BestSixteenBit(kind, blocks);
        var rates = own.SelectMany(b => b.Rates).ToList();
        var (speedup, note) = SpeedupOf(precision, own, blocks, baselineProblem);
        return new RateView(
            Statistics.Median(rates), MadPercent(rates), rates.Count, Statistics.Outliers(rates).Count(o => o),
            own[0].MedianRate, Sustained(rates), speedup, note) with
        {
            Best16 = best,
            OverBest16 = best is null || best == precision ? null : Speedup.Of(Pairs(own, best, blocks)),
            RowShare = own.Average(b => b.RowShare),
        };
    }

    /// <summary>
    /// The faster of the 16-bit paths that ran in this job: bf16 when its paired blocks are faster than fp16's on the mean, else
    /// fp16. A speedup that hid a faster 16-bit path would be dishonest.
    /// </summary>
    public static string? BestSixteenBit(string kind, IReadOnlyList<TimedBlock> blocks)
    {
        var fp16 = Of(PrecisionNames.Baseline, kind, blocks);
        var bf16 = Of("bf16", kind, blocks);
        if (fp16.Count == 0 || bf16.Count == 0)
            return fp16.Count > 0 ? PrecisionNames.Baseline : bf16.Count > 0 ? "bf16" : null;
        return Speedup.Of(Pairs(bf16, PrecisionNames.Baseline, blocks)) is { Ratio: > 1 } ? "bf16" : PrecisionNames.Baseline;
    }

    private static List<TimedBlock> Of(string precision, string kind, IReadOnlyList<TimedBlock> blocks) =>
        [.. blocks.Where(b => b.Precision == precision && b.Kind == kind && b.Nanoseconds.Count > 0).OrderBy(b => b.Index)];

    /// <summary>Median rates of blocks beside those of another precision, in the same round of the same attempt.</summary>
    private static List<(double Rate, double Baseline)> Pairs(List<TimedBlock> own, string other, IReadOnlyList<TimedBlock> blocks)
    {
        var others = own.Count == 0 ? [] : Of(other, own[0].Kind, blocks).GroupBy(b => (b.Round, b.Attempt)).ToDictionary(g => g.Key, g => g.First());
        return [.. own.Where(b => others.ContainsKey((b.Round, b.Attempt))).Select(b => (b.MedianRate, others[(b.Round, b.Attempt)].MedianRate))];
    }

    /// <summary>Median absolute deviation, percent of the median.</summary>
    public static double MadPercent(IReadOnlyCollection<double> rates) => 100 * Statistics.Mad(rates) / Statistics.Median(rates);

    /// <summary>Median of the last third (rounded up) of the repetitions, in the order they ran.</summary>
    public static double Sustained(IReadOnlyList<double> rates) => Statistics.Median(rates.Skip(rates.Count - (rates.Count + 2) / 3));

    private static (SpeedupView? Speedup, string? Note) SpeedupOf(
        string precision, List<TimedBlock> own, IReadOnlyList<TimedBlock> blocks, string? baselineProblem)
    {
        if (PrecisionNames.IsBaseline(precision))
            return (null, "this is the baseline");
        if (baselineProblem is not null)
            return (null, baselineProblem);
        var speedup = Speedup.Of(Pairs(own, PrecisionNames.Baseline, blocks));
        return (speedup, speedup switch
        {
            null => "no fp16 block of the same attempt to compare with",
            { Low: null } => Speedup.TooFewBlocks,
            _ => null,
        });
    }
}
