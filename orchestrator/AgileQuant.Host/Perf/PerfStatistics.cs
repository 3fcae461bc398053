namespace AgileQuant.Host.Perf;

/// <summary>The few figures that comparisons are made of; pure.</summary>
internal static class PerfStatistics
{
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Median absolute deviation in percent of the median.</summary>
    public static double SpreadPercent(IReadOnlyList<double> values)
    {
        var median = Median(values);
        return median == 0 ? 0 : 100 * Median(values.Select(v => Math.Abs(v - median))) / median;
    }

    /// <summary>Order of a round: forth in even ones, back in odd ones, so that slow drift hits all alike.</summary>
    public static IEnumerable<T> Order<T>(IReadOnlyList<T> items, int round) => round % 2 == 0 ? items : items.Reverse();
}
