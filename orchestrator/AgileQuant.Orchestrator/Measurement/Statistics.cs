namespace AgileQuant.Orchestrator.Measurement;

/// <summary>Medians, spread and outliers. Nothing is ever dropped.</summary>
public static class Statistics
{
    /// <summary>Makes the MAD of normally distributed values estimate their standard deviation: 1 / Φ⁻¹(3/4).</summary>
    public const double MadToSigma = 1.4826;

    /// <summary>Values further than this many robust standard deviations from the median are marked as outliers.</summary>
    public const double OutlierSigmas = 3.5;

    /// <summary>Median; the mean of the middle two of an even number. NaN for none.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        if (sorted.Length == 0)
            return double.NaN;
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>Median absolute deviation from the median, unscaled.</summary>
    public static double Mad(IReadOnlyCollection<double> values)
    {
        var median = Median(values);
        return Median(values.Select(v => Math.Abs(v - median)));
    }

    /// <summary>Marks outliers by the modified z-score; with fewer than 5 values, or a MAD of 0, none.</summary>
    public static bool[] Outliers(IReadOnlyList<double> values)
    {
        var median = Median(values);
        var mad = values.Count < 5 ? 0 : Mad([.. values]);
        return [.. values.Select(v => mad > 0 && Math.Abs(v - median) / (MadToSigma * mad) > OutlierSigmas)];
    }

    /// <summary>Mean and its standard error from values that are independent of each other; null error for fewer than two.</summary>
    public static (double Mean, double? StandardError) MeanWithError(IReadOnlyCollection<double> values)
    {
        var mean = values.Average();
        if (values.Count < 2)
            return (mean, null);
        var variance = values.Sum(v => (v - mean) * (v - mean)) / (values.Count - 1);
        return (mean, Math.Sqrt(variance / values.Count));
    }
}
