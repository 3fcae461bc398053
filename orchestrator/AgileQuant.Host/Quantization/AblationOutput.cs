using System.Globalization;
using System.Net;
using System.Text;
using AgileQuant.Engine;

namespace AgileQuant.Host.Quantization;

/// <summary>An ablation as CSV, and as one SVG that needs nothing else.</summary>
internal static class AblationOutput
{
    private const int BarHeight = 16;
    private const int Label = 250;
    private const int Width = 900;

    /// <summary>One line a recipe and length; perplexities, and gains in nats.</summary>
    public static string Csv(IEnumerable<AblationRow> rows)
    {
        var text = new StringBuilder("group,precision,length,windows,ppl_all,ppl_fp16,loss_nat,ppl_survivors,ppl_fp16_on_survivors,survivor_share,"
            + "apparent_gain_nat,gain_by_scoring_nat,real_gain_nat\n");
        foreach (var r in rows)
        {
            string?[] cells =
            [
                r.Group, r.Precision, Number(r.Length), Number(r.Windows), Number(Math.Exp(r.All)), Number(Math.Exp(r.Full)), Number(r.Loss),
                Number(Exp(r.Survivors)), Number(Exp(r.FullOnSurvivors)), Number(r.SurvivorShare), Number(r.ApparentGain),
                Number(r.GainByScoring), Number(r.RealGain),
            ];
            text.AppendJoin(',', cells).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>
    /// Bars of loss by recipe, a block for each length; for pruned recipes a second, lighter bar shows the loss that scoring survivors
    /// alone would show.
    /// </summary>
    public static string Svg(string title, IReadOnlyList<AblationRow> rows)
    {
        var largest = Math.Max(rows.Max(r => Math.Max(r.Loss, Shown(r) ?? 0)), 1e-6);
        var smallest = Math.Min(rows.Min(r => Math.Min(r.Loss, Shown(r) ?? 0)), 0);
        var scale = (Width - Label - 90) / (largest - smallest);
        var zero = Label - smallest * scale;
        var body = new StringBuilder();
        var y = 40;
        foreach (var length in rows.GroupBy(r => r.Length))
        {
            body.Append(CultureInfo.InvariantCulture, $"<text x=\"8\" y=\"{y + 14}\" class=\"h\">{length.Key} ids, {length.First().Windows} windows</text>\n");
            y += 24;
            foreach (var row in length)
            {
                body.Append(CultureInfo.InvariantCulture, $"<text x=\"{Label - 8}\" y=\"{y + 12}\" text-anchor=\"end\">{WebUtility.HtmlEncode(row.Precision)}</text>\n");
                Bar(body, y, row.Loss, "#31688e");
                if (Shown(row) is { } shown)
                    Bar(body, y += BarHeight, shown, "#9fc5e0");
                y += BarHeight + 4;
            }

            y += 12;
        }

        return string.Create(CultureInfo.InvariantCulture,
            $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {y + 30}\" font-family=\"sans-serif\" font-size=\"12\">\n"
            + $"<style>.h{{font-weight:bold}}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"8\" y=\"20\" font-size=\"15\">{WebUtility.HtmlEncode(title)}</text>\n"
            + $"{body}<text x=\"8\" y=\"{y + 14}\">loss in nats, ln(PPL / PPL fp16). Dark: every target. Light: survivors alone, as the paper scores, against fp16 on every target.</text>\n</svg>\n");

        void Bar(StringBuilder target, int top, double value, string color)
        {
            var (from, to) = (Math.Min(zero, zero + value * scale), Math.Max(zero, zero + value * scale));
            target.Append(CultureInfo.InvariantCulture,
                $"<rect x=\"{from:0.##}\" y=\"{top}\" width=\"{Math.Max(to - from, 0.5):0.##}\" height=\"{BarHeight - 2}\" fill=\"{color}\"/>"
                + $"<text x=\"{to + 4:0.##}\" y=\"{top + 12}\">{value:0.0000}</text>\n");
        }
    }

    private static double? Shown(AblationRow row) => row.Survivors - row.Full;

    private static double? Exp(double? nll) => nll is { } value ? Math.Exp(value) : null;

    private static string Number(double? value) => value?.ToString("0.######", CultureInfo.InvariantCulture) ?? "";
}
