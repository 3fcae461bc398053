namespace AgileQuant.Dashboard.Model;

/// <summary>A linear axis: values to pixels, with round ticks.</summary>
/// <param name="From">Pixel of <paramref name="Low"/>.</param>
/// <param name="To">Pixel of <paramref name="High"/>; smaller than From on an upright axis.</param>
internal readonly record struct Axis(double Low, double High, double From, double To)
{
    internal double At(double value) => High - Low < 1e-12 ? (From + To) / 2 : From + ((value - Low) / (High - Low) * (To - From));

    /// <summary>An axis over the values with a little air, from zero if <paramref name="zero"/>.</summary>
    internal static Axis Over(IEnumerable<double> values, double from, double to, bool zero = false)
    {
        var (low, high) = (double.MaxValue, double.MinValue);
        foreach (var value in values.Where(double.IsFinite))
        {
            (low, high) = (Math.Min(low, value), Math.Max(high, value));
        }

        if (low > high)
        {
            (low, high) = (0, 1);
        }

        var air = high - low < 1e-12 ? Math.Max(Math.Abs(high) * 0.1, 0.5) : (high - low) * 0.08;
        return new(zero ? Math.Min(0, low) : low - air, high + air, from, to);
    }

    /// <summary>About <paramref name="count"/> round values (1, 2, 2.5 or 5 times a power of ten) within the axis.</summary>
    internal IReadOnlyList<double> Ticks(int count = 4)
    {
        var rough = (High - Low) / Math.Max(1, count);
        var power = Math.Pow(10, Math.Floor(Math.Log10(Math.Max(rough, 1e-12))));
        var step = power * ((rough / power) switch { <= 1 => 1, <= 2 => 2, <= 2.5 => 2.5, <= 5 => 5, _ => 10 });
        var ticks = new List<double>();
        for (var value = Math.Ceiling(Low / step) * step; value <= High + (step * 1e-9) && ticks.Count < 20; value += step)
        {
            ticks.Add(Math.Abs(value) < step * 1e-9 ? 0 : value);
        }

        return ticks;
    }
}

/// <summary>Shapes of charts as SVG path data.</summary>
internal static class Charts
{
    /// <summary>At most this many points are drawn of a series; more are thinned out, first and last kept.</summary>
    internal const int MaxPoints = 400;

    /// <summary>A line through the points, broken where a value is missing.</summary>
    internal static string Line(IReadOnlyList<(double X, double? Y)> points, Axis x, Axis y)
    {
        var path = new System.Text.StringBuilder();
        var pen = false;
        foreach (var (px, py) in points)
        {
            if (py is not { } value)
            {
                pen = false;
                continue;
            }

            path.Append(pen ? 'L' : 'M').Append(Format.Coordinate(x.At(px))).Append(' ').Append(Format.Coordinate(y.At(value)));
            pen = true;
        }

        return path.ToString();
    }

    internal static IReadOnlyList<T> Thin<T>(IReadOnlyList<T> points) =>
        points.Count <= MaxPoints ? points
        : [.. Enumerable.Range(0, MaxPoints).Select(i => points[(int)((long)i * (points.Count - 1) / (MaxPoints - 1))])];
}
