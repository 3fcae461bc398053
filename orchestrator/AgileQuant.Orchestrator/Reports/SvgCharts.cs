using System.Globalization;
using System.Text;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>One bar with its interval (null bounds: no whisker).</summary>
/// <param name="Series">Index of the colour, 0 to 5.</param>
internal sealed record Bar(string Label, double Value, double? Low, double? High, int Series, string Text);

/// <summary>One point of a scatter plot.</summary>
internal sealed record Dot(string Label, double X, double Y, int Series);

/// <summary>Charts as inline SVG: colours come from the page's style sheet, so they follow light, dark and print.</summary>
internal static class SvgCharts
{
    private const int Width = 860;
    private const int LabelWidth = 330;
    /// <summary>Characters that fit before the bars in a wide font; device, model and precision come first.</summary>
    private const int LabelLength = 44;
    private const int RightSpace = 150;
    private const int RowHeight = 24;

    /// <summary>Horizontal bars from a reference line, whiskers for the interval.</summary>
    public static string Bars(string id, string title, string axis, double reference, IReadOnlyList<Bar> bars)
    {
        var scale = Scale.For(bars.SelectMany(b => new[] { b.Value, b.Low ?? b.Value, b.High ?? b.Value }).Append(reference));
        var plot = Width - LabelWidth - RightSpace;
        double X(double v) => LabelWidth + (v - scale.Low) / (scale.High - scale.Low) * plot;
        var bottom = bars.Count * RowHeight + 10;
        var svg = Start(id, title, bottom + 46);
        foreach (var tick in scale.Ticks)
        {
            svg.Append(Inv($"""<line class="grid" x1="{X(tick):F1}" x2="{X(tick):F1}" y1="4" y2="{bottom}"/>"""));
            svg.Append(Inv($"""<text class="tick" text-anchor="middle" x="{X(tick):F1}" y="{bottom + 16}">{scale.Label(tick)}</text>"""));
        }

        for (var i = 0; i < bars.Count; i++)
            AppendBar(svg, bars[i], i * RowHeight + 8, X, reference);
        svg.Append(Inv($"""<line class="axis" x1="{X(reference):F1}" x2="{X(reference):F1}" y1="2" y2="{bottom}"/>"""));
        svg.Append(Inv($"""<text class="tick" text-anchor="middle" x="{LabelWidth + plot / 2.0:F1}" y="{bottom + 36}">{Encode(axis)}</text>"""));
        return svg.Append("</svg>").ToString();
    }

    /// <summary>Points with labels; both axes start near the data.</summary>
    public static string Scatter(string id, string title, string xAxis, string yAxis, IReadOnlyList<Dot> dots)
    {
        const int left = 70, right = 170, top = 14, height = 320;
        var (xs, ys) = (Scale.For(dots.Select(d => d.X).Append(0)), Scale.For(dots.Select(d => d.Y).Append(0)));
        double X(double v) => left + (v - xs.Low) / (xs.High - xs.Low) * (Width - left - right);
        double Y(double v) => top + height - (v - ys.Low) / (ys.High - ys.Low) * height;
        var svg = Start(id, title, top + height + 50);
        foreach (var tick in xs.Ticks)
        {
            svg.Append(Inv($"""<line class="grid" x1="{X(tick):F1}" x2="{X(tick):F1}" y1="{top}" y2="{top + height}"/>"""));
            svg.Append(Inv($"""<text class="tick" text-anchor="middle" x="{X(tick):F1}" y="{top + height + 16}">{xs.Label(tick)}</text>"""));
        }

        foreach (var tick in ys.Ticks)
        {
            svg.Append(Inv($"""<line class="grid" x1="{left}" x2="{Width - right}" y1="{Y(tick):F1}" y2="{Y(tick):F1}"/>"""));
            svg.Append(Inv($"""<text class="tick" text-anchor="end" x="{left - 6}" y="{Y(tick) + 4:F1}">{ys.Label(tick)}</text>"""));
        }

        foreach (var dot in dots)
        {
            svg.Append(Inv($"""<circle class="s{dot.Series % 6}" cx="{X(dot.X):F1}" cy="{Y(dot.Y):F1}" r="5"/>"""));
            svg.Append(Inv($"""<text class="label" x="{X(dot.X) + 9:F1}" y="{Y(dot.Y) + 4:F1}">{Encode(dot.Label)}</text>"""));
        }

        svg.Append(Inv($"""<text class="tick" text-anchor="middle" x="{(Width - right + left) / 2.0:F1}" y="{top + height + 38}">{Encode(xAxis)}</text>"""));
        svg.Append(Inv($"""<text class="tick" text-anchor="middle" transform="translate(16 {top + height / 2}) rotate(-90)">{Encode(yAxis)}</text>"""));
        return svg.Append("</svg>").ToString();
    }

    private static void AppendBar(StringBuilder svg, Bar bar, int y, Func<double, double> x, double reference)
    {
        var (from, to) = (Math.Min(x(reference), x(bar.Value)), Math.Max(x(reference), x(bar.Value)));
        svg.Append(Inv($"""<text class="label" text-anchor="end" x="{LabelWidth - 8}" y="{y + 12}">{Encode(Shorten(bar.Label))}<title>{Encode(bar.Label)}</title></text>"""));
        svg.Append(Inv($"""<rect class="s{bar.Series % 6}" x="{from:F1}" y="{y}" width="{Math.Max(to - from, 1):F1}" height="{RowHeight - 8}" rx="2"/>"""));
        var end = Math.Max(to, x(bar.High ?? bar.Value));
        if (bar is { Low: { } low, High: { } high })
        {
            var middle = y + (RowHeight - 8) / 2.0;
            svg.Append(Inv($"""<path class="whisker" d="M{x(low):F1} {middle:F1}H{x(high):F1}M{x(low):F1} {middle - 4:F1}v8M{x(high):F1} {middle - 4:F1}v8"/>"""));
        }

        svg.Append(Inv($"""<text class="value" x="{end + 6:F1}" y="{y + 12}">{Encode(bar.Text)}</text>"""));
    }

    private static StringBuilder Start(string id, string title, int height) => new StringBuilder().Append(Inv(
        $"""<svg id="{id}" viewBox="0 0 {Width} {height}" role="img" aria-label="{Encode(title)}" xmlns="http://www.w3.org/2000/svg"><title>{Encode(title)}</title>"""));

    private static string Shorten(string label) => label.Length <= LabelLength ? label : label[..(LabelLength - 1)] + "…";

    private static string Encode(string text) => HtmlReport.Encode(text);

    private static string Inv(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>A linear scale with round tick values around the data.</summary>
internal sealed record Scale(double Low, double High, double Step)
{
    public IEnumerable<double> Ticks
    {
        get
        {
            for (var i = 0; Low + i * Step <= High + Step / 1000; i++)
                yield return Low + i * Step;
        }
    }

    /// <summary>About five ticks at 1, 2 or 5 times a power of ten.</summary>
    public static Scale For(IEnumerable<double> values)
    {
        var finite = values.Where(double.IsFinite).ToList();
        var (low, high) = finite.Count == 0 ? (0, 1) : (finite.Min(), finite.Max());
        if (high - low < 1e-9)
            (low, high) = (low - 0.5, high + 0.5);
        var raw = (high - low) / 5;
        var power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        var step = power * (raw / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        return new Scale(Math.Floor(low / step + 1e-9) * step, Math.Ceiling(high / step - 1e-9) * step, step);
    }

    public string Label(double tick)
    {
        var digits = Math.Max(0, (int)Math.Ceiling(-Math.Log10(Step) - 1e-9));
        return (Math.Abs(tick) < Step / 1000 ? 0 : tick).ToString("F" + digits, CultureInfo.InvariantCulture);
    }
}
