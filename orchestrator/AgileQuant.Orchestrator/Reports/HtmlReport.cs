using System.Text;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>The report as one HTML file: no script, no external resource, charts as inline SVG.</summary>
public static class HtmlReport
{
    /// <summary>Figures stay on one line; a cell with words instead of a figure may break.</summary>
    private const int LongCell = 24;

    public static string Render(ReportModel model)
    {
        var html = new StringBuilder();
        html.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
            .Append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
            .Append($"<title>{Encode(ReportFacts.Title(model))}</title>\n<style>{HtmlStyle.Css}</style></head>\n<body><main>")
            .Append($"<h1>{Encode(model.Matrix.Summary.Name)}</h1><p class=\"lead\">Benchmark of quantized language models on edge boards</p>");
        Facts(html, ReportFacts.Head(model));
        html.Append("<h2 id=\"comparison\">Comparison</h2>");
        foreach (var note in model.Matrix.Baselines ?? [])
            Baseline(html, note);
        foreach (var table in ReportTable.For(model.Matrix))
            Comparison(html, table);
        Skipped(html, model);
        HtmlCharts.Append(html, model);
        Notes(html, model);
        Grades(html, model);
        html.Append("<h2>Provenance</h2><p>Every figure leads back to these files, by content.</p>");
        Table(html, "Provenance", ReportFacts.ProvenanceHeadings, model.Runs.Select(ReportFacts.Provenance), cssClass: "small");
        return html.Append("</main></body></html>\n").ToString();
    }

    /// <summary>Text as HTML or XML content or attribute value; the page is UTF-8, so other characters stay as they are.</summary>
    internal static string Encode(string text) => text
        .Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal).Replace("\"", "&quot;", StringComparison.Ordinal);

    internal static void Table(
        StringBuilder html, string caption, IReadOnlyList<string> headings, IEnumerable<IReadOnlyList<string>> rows, string cssClass = "")
    {
        html.Append($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{Encode(caption)}\"><table class=\"{cssClass}\"><thead><tr>");
        foreach (var heading in headings)
            html.Append($"<th scope=\"col\">{Encode(heading)}</th>");
        html.Append("</tr></thead><tbody>");
        foreach (var row in rows)
        {
            html.Append("<tr>");
            foreach (var cell in row)
                html.Append($"<td>{Encode(cell)}</td>");
            html.Append("</tr>");
        }

        html.Append("</tbody></table></div>");
    }

    private static void Baseline(StringBuilder html, BaselineNote note) =>
        html.Append($"<p class=\"{(note.Level ? "baseline-note" : "baseline-note warn")}\">{Encode(note.Sentence)} (")
            .Append("<a href=\"#note-baseline\">why this matters</a>)</p>");

    private static void Comparison(StringBuilder html, ReportTable table)
    {
        html.Append($"<h3>Workload {Encode(table.Workload)}</h3>")
            .Append($"<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Comparison of workload {Encode(table.Workload)}\">")
            .Append("<table class=\"comparison\"><thead><tr>");
        foreach (var c in table.Columns)
        {
            var note = c.Note is null ? "" : $"<sup><a href=\"#note-{c.Note}\">{ReportNotes.Number(c.Note)}</a></sup>";
            html.Append($"<th scope=\"col\"{Number(c)}>{Encode(c.Heading)}{note}</th>");
        }

        html.Append("</tr></thead><tbody>");
        foreach (var (row, run) in table.Rows.Zip(table.Runs))
        {
            html.Append(PrecisionNames.IsBaseline(run.Precision) ? "<tr class=\"baseline\">" : "<tr>");
            for (var i = 0; i < row.Count; i++)
                Cell(html, table.Columns[i], run, row[i]);
            html.Append("</tr>");
        }

        html.Append("</tbody></table></div>");
    }

    private static void Cell(StringBuilder html, ReportColumn column, RunSummaryView run, string text)
    {
        var shown = column.Short?.Invoke(ReportModel.Honest(run)) ?? text;
        string[] classes = [.. new[] { column.Numeric ? "number" : null, shown.Length > LongCell ? "long" : null, column.Name ? "name" : null }.OfType<string>()];
        html.Append("<td");
        if (classes.Length > 0)
            html.Append($" class=\"{string.Join(' ', classes)}\"");
        if (shown != text)
            html.Append($" title=\"{Encode(text)}\"");
        html.Append($">{Encode(shown)}</td>");
    }

    private static string Number(ReportColumn column) => column.Numeric ? " class=\"number\"" : "";

    private static void Notes(StringBuilder html, ReportModel model)
    {
        html.Append("<h2>How the figures were made</h2><ol class=\"notes\">");
        foreach (var (key, text) in ReportNotes.All)
            html.Append($"<li id=\"note-{key}\">{Encode(text)}</li>");
        html.Append("</ol>");
        Facts(html, ReportFacts.Method(model));
    }

    private static void Skipped(StringBuilder html, ReportModel model)
    {
        var skipped = ReportFacts.Skipped(model);
        if (skipped.Count == 0)
            return;
        html.Append("<h2>Skipped</h2>");
        Table(html, "Skipped runs", ["Run", "Reason"], skipped);
    }

    private static void Grades(StringBuilder html, ReportModel model)
    {
        var grades = ReportFacts.Grades(model);
        if (grades.Count == 0)
            return;
        html.Append("<h2>Trust</h2>");
        Table(html, "Trust grades", ["Run", "Grade", "Reasons"],
            grades.Select(g => (IReadOnlyList<string>)[g.Run, g.Grade.ToString(), g.Reasons]));
    }

    private static void Facts(StringBuilder html, IReadOnlyList<(string Name, string Value)> facts)
    {
        html.Append("<dl>");
        foreach (var (name, value) in facts)
            html.Append($"<dt>{Encode(name)}</dt><dd>{Encode(value)}</dd>");
        html.Append("</dl>");
    }
}

/// <summary>The charts of the HTML report, each with its figures in a table beside it.</summary>
internal static class HtmlCharts
{
    public static void Append(StringBuilder html, ReportModel model)
    {
        var runs = model.Matrix.Runs;
        AppendBars(html, "speedup", "Speedup over fp16", "times as fast as fp16 on the same board", 1, Speedups(runs),
            "No run has a speedup: it needs fp16 and another precision timed on the same real board.");
        AppendBars(html, "delta", "Perplexity: difference from fp16", "percent, lower is better", 0, Deltas(runs),
            "No run has a perplexity difference: it needs fp16 and another precision scored on the same windows.");
        AppendScatter(html, runs);
    }

    private static List<Bar> Speedups(IReadOnlyList<RunSummaryView> runs)
    {
        var bars = new List<Bar>();
        foreach (var run in runs)
        {
            if (run.Speed?.Prefill?.Speedup is { } prompt)
                bars.Add(new Bar($"{Label(run)} prompt", prompt.Ratio, prompt.Low, prompt.High, Series(runs, run), Figures.Ratio(prompt)));
            if (run.Speed?.Generation?.Speedup is { } gen)
                bars.Add(new Bar($"{Label(run)} generation", gen.Ratio, gen.Low, gen.High, Series(runs, run), Figures.Ratio(gen)));
        }

        return bars;
    }

    private static List<Bar> Deltas(IReadOnlyList<RunSummaryView> runs)
    {
        var bars = new List<Bar>();
        foreach (var run in runs.Where(r => !PrecisionNames.IsBaseline(r.Precision)))
        {
            var (delta, error, name) = run.Perplexity switch
            {
                { Full: { DeltaPercent: { } d } full } => (d, full.DeltaStandardErrorPercent, full.Name),
                { DeltaPercent: { } d } board => (d, board.DeltaStandardErrorPercent, board.Name),
                _ => (double.NaN, null, ""),
            };
            if (double.IsNaN(delta))
                continue;
            bars.Add(new Bar($"{Label(run)} {name}", delta, delta - 1.96 * error, delta + 1.96 * error, Series(runs, run),
                Figures.Percent(delta, error)));
        }

        return bars;
    }

    private static void AppendBars(
        StringBuilder html, string id, string title, string axis, double reference, List<Bar> bars, string empty)
    {
        html.Append($"<section><h2>{HtmlReport.Encode(title)}</h2>");
        if (bars.Count == 0)
        {
            html.Append($"<p>{HtmlReport.Encode(empty)}</p></section>");
            return;
        }

        html.Append("<figure>").Append(SvgCharts.Bars($"chart-{id}", title, axis, reference, bars))
            .Append("<figcaption>Bars start at fp16; whiskers are 95% intervals.</figcaption></figure>");
        HtmlReport.Table(html, title, ["Run", "Value", "95% low", "95% high"],
            bars.Select(b => (IReadOnlyList<string>)[b.Label, b.Text, Bound(b.Low), Bound(b.High)]), "small");
        html.Append("</section>");
    }

    private static void AppendScatter(StringBuilder html, IReadOnlyList<RunSummaryView> runs)
    {
        html.Append("<section><h2>Quality against speed</h2>");
        var points = runs.Select(r => (Run: r, Speed: r.Speed?.Generation?.Median ?? r.Speed?.Prefill?.Median, Delta: DeltaOf(r)))
            .Where(p => p is { Speed: not null, Delta: not null }).ToList();
        if (points.Count == 0)
        {
            html.Append("<p>No run has both a speed and a perplexity difference in one workload: give a workload a prompt or generation "
                + "length and a dataset to see them together.</p></section>");
            return;
        }

        html.Append("<figure>").Append(SvgCharts.Scatter("chart-scatter", "Perplexity difference against speed", "tokens/s (generation, else prompt)",
            "perplexity difference from fp16, percent", [.. points.Select(p => new Dot($"{p.Run.Device} {p.Run.Precision}", p.Speed!.Value, p.Delta!.Value, Series(runs, p.Run)))]))
            .Append("<figcaption>Right and down is better: faster, closer to fp16.</figcaption></figure>");
        HtmlReport.Table(html, "Perplexity difference against speed", ["Run", "Tokens/s", "Perplexity difference, percent"],
            points.Select(p => (IReadOnlyList<string>)[Label(p.Run), Figures.Rate(p.Speed!.Value), p.Delta!.Value.ToString("F2")]), "small");
        html.Append("</section>");
    }

    private static double? DeltaOf(RunSummaryView run) => run.Perplexity is null ? null
        : PrecisionNames.IsBaseline(run.Precision) ? 0 : run.Perplexity.Full?.DeltaPercent ?? run.Perplexity.DeltaPercent;

    private static string Label(RunSummaryView run) => $"{run.Device} · {run.Model} · {run.Precision}";

    private static string Bound(double? value) => value?.ToString("F2") ?? Figures.None;

    private static int Series(IReadOnlyList<RunSummaryView> runs, RunSummaryView run) =>
        runs.Select(r => r.Precision).Distinct().ToList().IndexOf(run.Precision);
}

internal static class HtmlStyle
{
    public const string Css = """
        :root{color-scheme:light dark;--bg:#fff;--fg:#1d2430;--soft:#586273;--line:#d8dde6;--head:#f3f5f9;--link:#1a56b0;
        --s0:#5b6b82;--s1:#1f77b4;--s2:#2a8f5b;--s3:#c2571a;--s4:#8a4fbf;--s5:#b03a5b}
        @media(prefers-color-scheme:dark){:root{--bg:#12161d;--fg:#e6eaf1;--soft:#a3aebf;--line:#333c4a;--head:#1b212b;--link:#8ab8ff;
        --s0:#97a6bc;--s1:#5aa9e6;--s2:#56c48c;--s3:#f0945a;--s4:#bb8bea;--s5:#e57a98}}
        *{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
        main{max-width:1500px;margin:0 auto;padding:28px 24px 60px}h1{margin:0;font-size:28px}h2{margin:34px 0 10px;font-size:19px}h3{margin:18px 0 8px;font-size:15px}
        .baseline-note{max-width:95ch;margin:4px 0 10px;color:var(--soft)}.baseline-note.warn{color:var(--fg);border-left:3px solid var(--s3);padding-left:10px}
        .lead{margin:2px 0 18px;color:var(--soft)}a{color:var(--link)}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0 0 12px}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
        .scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th,td{padding:6px 10px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
        thead th{background:var(--head);font-weight:600;white-space:nowrap}tbody tr:last-child td{border-bottom:0}
        .number{text-align:right;white-space:nowrap}.baseline td{background:var(--head)}.small{font-size:12.5px}.small td{overflow-wrap:anywhere}
        .comparison{font-size:12px;line-height:1.35}.comparison th,.comparison td{padding:4px 6px}.comparison thead th{white-space:normal;vertical-align:bottom}
        .comparison .name{white-space:nowrap}.comparison td.long:not(.name){white-space:normal;overflow-wrap:anywhere;min-width:9em}
        sup a{text-decoration:none;margin-left:2px}.notes li{margin:4px 0;max-width:95ch}
        figure{margin:0 0 12px}figcaption{color:var(--soft);font-size:13px}svg{width:100%;max-width:960px;height:auto;display:block}
        svg text{font:12px system-ui,sans-serif;fill:var(--fg)}svg .tick{fill:var(--soft);font-size:11px}svg .value{font-size:11px}
        .grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--fg);stroke-width:1.5}.whisker{stroke:var(--fg);stroke-width:1.3;fill:none}
        .s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}.s5{fill:var(--s5)}
        @media print{:root{--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--head:#f0f0f0;--link:#000}main{max-width:none;padding:0}
        body{font-size:10px}section,tr,figure{break-inside:avoid}.scroll{overflow:visible;border:0}@page{size:A4 landscape;margin:12mm}
        .comparison{font-size:8.5px}.comparison th,.comparison td,.number{white-space:normal;padding:3px 4px}}
        """;
}
