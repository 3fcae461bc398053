using System.Globalization;

namespace AgileQuant.Dashboard.Model;

/// <summary>Numbers and times as people read them. Three significant digits where a figure has no natural precision.</summary>
internal static class Format
{
    /// <summary>Shown where there is no value.</summary>
    internal const string None = "–";

    private static readonly string[] BinaryUnits = ["B", "KiB", "MiB", "GiB", "TiB"];
    private static readonly string[] DecimalUnits = ["B", "kB", "MB", "GB", "TB"];

    /// <summary>At least three significant digits: 0.457, 6.10, 21.4, 156, 1,234.</summary>
    internal static string Number(double value)
    {
        var digits = Math.Abs(value) switch { 0 => "0", < 1 => "0.000", < 10 => "0.00", < 100 => "0.0", _ => "#,##0" };
        return Minus(value.ToString(digits, CultureInfo.InvariantCulture));
    }

    /// <summary>A spread in percent, at most two places: 0.8%, 1.94%.</summary>
    internal static string Spread(double percent) => percent.ToString("0.##", CultureInfo.InvariantCulture) + "%";

    internal static string Rate(double? tokensPerSecond) => tokensPerSecond is { } v ? Number(v) + " tok/s" : None;

    internal static string Ratio(double ratio) => ratio.ToString(ratio < 10 ? "0.00" : "0.0", CultureInfo.InvariantCulture) + "×";

    /// <summary>An interval of ratios: <c>1.75–1.89×</c>.</summary>
    internal static string Interval(double low, double high) =>
        $"{low.ToString("0.00", CultureInfo.InvariantCulture)}–{high.ToString("0.00", CultureInfo.InvariantCulture)}×";

    /// <summary>A signed percentage with its sign always shown, zero without one.</summary>
    internal static string SignedPercent(double percent)
    {
        var text = Math.Abs(percent).ToString(Math.Abs(percent) < 10 ? "0.00" : "0.0", CultureInfo.InvariantCulture);
        var sign = text.AsSpan().ContainsAnyInRange('1', '9') ? (percent < 0 ? "−" : "+") : "";
        return $"{sign}{text}%";
    }

    internal static string Percent(double share) => share.ToString(share is > 0 and < 0.1 ? "0.0%" : "0%", CultureInfo.InvariantCulture).Replace(" %", "%", StringComparison.Ordinal);

    internal static string Perplexity(double value) => value.ToString(value < 100 ? "0.000" : "#,##0.0", CultureInfo.InvariantCulture);

    /// <summary>Memory in binary units.</summary>
    internal static string Memory(long? bytes) => bytes is { } b ? Scale(b, 1024, BinaryUnits) : None;

    /// <summary>File sizes in decimal units, as download tools show them.</summary>
    internal static string FileSize(long? bytes) => bytes is { } b ? Scale(b, 1000, DecimalUnits) : None;

    internal static string Count(long value) => value.ToString("#,##0", CultureInfo.InvariantCulture);

    /// <summary>A model's size by its parameters: <c>4.7M</c>, <c>1.1B</c>.</summary>
    internal static string Parameters(long count) => count switch
    {
        >= 1_000_000_000 => (count / 1e9).ToString("0.#", CultureInfo.InvariantCulture) + "B",
        >= 1_000_000 => (count / 1e6).ToString(count < 10_000_000 ? "0.0" : "0", CultureInfo.InvariantCulture) + "M",
        _ => Count(count),
    };

    internal static string Celsius(double? value) => value is { } v ? v.ToString("0.0", CultureInfo.InvariantCulture) + " °C" : None;

    internal static string Clock(double? mhz) => mhz switch
    {
        null => None,
        >= 1000 => (mhz.Value / 1000).ToString("0.00", CultureInfo.InvariantCulture) + " GHz",
        _ => mhz.Value.ToString("0", CultureInfo.InvariantCulture) + " MHz",
    };

    /// <summary>The first 12 digits of a hash; the whole one stands beside it to copy.</summary>
    internal static string ShortHash(string? hash) => hash is null ? None : hash.Length > 12 ? hash[..12] + "…" : hash;

    /// <summary>How long ago, coarsely: <c>now</c>, <c>12 s ago</c>, <c>5 min ago</c>, <c>3 h ago</c>, <c>2 days ago</c>.</summary>
    internal static string Ago(DateTimeOffset? at, DateTimeOffset now)
    {
        if (at is not { } then)
        {
            return "never";
        }

        var age = now - then;
        return age.TotalSeconds switch
        {
            < 5 => "now",
            < 90 => $"{age.TotalSeconds:0} s ago",
            < 5400 => $"{age.TotalMinutes:0} min ago",
            < 129_600 => $"{age.TotalHours:0} h ago",
            _ => $"{age.TotalDays:0} days ago",
        };
    }

    internal static string Duration(TimeSpan span) => span.TotalSeconds switch
    {
        < 0 => None,
        < 90 => $"{span.TotalSeconds:0} s",
        < 5400 => $"{span.TotalMinutes:0} min",
        _ => $"{(int)span.TotalHours} h {span.Minutes:00} min",
    };

    /// <summary>Nanoseconds in the unit that suits them.</summary>
    internal static string Nanoseconds(long ns) => ns switch
    {
        < 1_000_000 => Number(ns / 1e3) + " µs",
        < 1_000_000_000 => Number(ns / 1e6) + " ms",
        _ => Number(ns / 1e9) + " s",
    };

    internal static string Moment(DateTimeOffset at) => at.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);

    /// <summary>A number for SVG and CSS: a point, no exponent, two places.</summary>
    internal static string Coordinate(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    private static string Minus(string text) => text.Replace('-', '−');

    private static string Scale(long bytes, double step, string[] units)
    {
        double value = bytes;
        var unit = 0;
        for (; value >= step && unit < units.Length - 1; unit++)
        {
            value /= step;
        }

        var digits = unit == 0 || value >= 100 ? "0" : value >= 10 ? "0.#" : "0.##";
        return $"{value.ToString(digits, CultureInfo.InvariantCulture)} {units[unit]}";
    }
}
