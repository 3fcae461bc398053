using System.Text.Json;
using System.Xml.Linq;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Reports;

public class ReportTests
{
    private static readonly ReportModel Model = SampleReport.Create();

    [Fact]
    public void Runs_stand_in_the_order_of_the_spec()
    {
        Model.Matrix.Runs.Select(r => $"{r.Workload} {r.Device} {r.Precision}").ShouldBe(
            ["quality pi4 fp16", "quality pi4 w4a4", "quality arm fp16", "quality arm w4a4", "speed pi4 fp16", "speed pi4 w4a4"]);
    }

    [Theory]
    [InlineData(ReportFormat.Html)]
    [InlineData(ReportFormat.Markdown)]
    [InlineData(ReportFormat.Csv)]
    [InlineData(ReportFormat.Json)]
    public void No_format_shows_a_speed_of_an_emulated_board_or_a_perplexity_of_random_weights(ReportFormat format)
    {
        var text = Render(format);

        text.ShouldNotContain("777");
        text.ShouldNotContain("999.1");
        text.ShouldContain("12.25"); // real figures are there
    }

    [Theory]
    [InlineData(ReportFormat.Html)]
    [InlineData(ReportFormat.Markdown)]
    public void Readable_formats_name_emulation_random_weights_and_where_figures_came_from(ReportFormat format)
    {
        var text = Render(format);

        foreach (var part in (string[])["emulated: numerics only", "random weights: speed only", "22222222-2222-2222-2222-222222222222",
            "Postgres leases", "OpenSSH", "e1e1", "a2a2", "no temperature is shown", "too few blocks for an interval", "2.50× [2.40, 2.60]"])
        {
            text.ShouldContain(part);
        }
    }

    [Fact]
    public void The_html_is_self_contained_and_a_name_cannot_become_markup()
    {
        var html = Render(ReportFormat.Html);

        html.ShouldNotContain("<script");
        html.ShouldNotContain("src=");
        html.ShouldNotContain("@import");
        html.ShouldContain("pi &lt;script&gt;");
        html.ShouldContain("prefers-color-scheme:dark");
        html.ShouldContain("@media print");
    }

    [Fact]
    public void Charts_are_well_formed_svg_with_a_name_and_a_whisker_where_there_is_an_interval()
    {
        var html = Render(ReportFormat.Html);
        var chart = Svg(html, "chart-speedup");

        chart.Attribute("aria-label")!.Value.ShouldBe("Speedup over fp16");
        var bars = chart.Descendants().Count(e => e.Name.LocalName == "rect");
        bars.ShouldBe(2); // prompt and generation of w4a4
        chart.Descendants().Count(e => (string?)e.Attribute("class") == "whisker").ShouldBe(1); // generation has too few blocks
        Svg(html, "chart-delta").Descendants().Count(e => e.Name.LocalName == "rect").ShouldBe(2);
    }

    [Fact]
    public void Bars_are_as_long_as_their_values()
    {
        var svg = XElement.Parse(SvgCharts.Bars("x", "t", "a", 1, [new Bar("one", 2, null, null, 0, "2"), new Bar("two", 3, null, null, 1, "3")]));
        var widths = svg.Descendants().Where(e => e.Name.LocalName == "rect").Select(e => (double)e.Attribute("width")!).ToList();

        (widths[1] / widths[0]).ShouldBe(2, 0.01); // from the reference at 1
    }

    [Theory]
    [InlineData(0.94, 2.6, 0.5)]
    [InlineData(0, 0, 0.2)]
    [InlineData(-0.001, 0.004, 0.001)]
    public void Scales_have_round_steps_and_cover_the_data(double low, double high, double step)
    {
        var scale = Scale.For([low, high]);

        scale.Step.ShouldBe(step, step * 1e-9);
        scale.Low.ShouldBeLessThanOrEqualTo(low);
        scale.High.ShouldBeGreaterThanOrEqualTo(high);
        scale.Ticks.Count().ShouldBeInRange(3, 12);
    }

    [Fact]
    public void Markdown_tables_keep_their_columns_whatever_a_name_holds()
    {
        var lines = Render(ReportFormat.Markdown).Split('\n');
        var start = Array.FindIndex(lines, l => l.StartsWith("| Device", StringComparison.Ordinal));
        var columns = Columns(lines[start]);

        columns.ShouldBeGreaterThan(5);
        for (var i = start; lines[i].StartsWith('|'); i++)
            Columns(lines[i]).ShouldBe(columns);
        lines[0].ShouldBe(@"# Benchmark report: pi \<script\>alert(1)\</script\> \| shelf");
    }

    [Fact]
    public void Csv_has_one_line_a_run_and_plain_numbers()
    {
        var lines = Render(ReportFormat.Csv).TrimEnd('\n').Split('\n');
        var header = lines[0].Split(',');
        var last = lines[^1].Split(',');

        lines.Length.ShouldBe(1 + 6);
        header.Distinct().Count().ShouldBe(header.Length);
        last.Length.ShouldBe(header.Length);
        last[Array.IndexOf(header, "prompt_tokens_per_second")].ShouldBe("250");
        last[Array.IndexOf(header, "prompt_speedup_low95")].ShouldBe("2.4");
        last[Array.IndexOf(header, "generation_speedup_low95")].ShouldBe("");
        lines[3].Split(',')[Array.IndexOf(header, "speed_note")].ShouldBe("emulated: numerics only");
    }

    [Fact]
    public void Csv_text_never_starts_a_formula()
    {
        var runs = Model.Runs.Select(r => r with { Run = r.Run with { Reason = "=HYPERLINK(\"x\")" } }).ToList();

        CsvReport.Render(Model with { Runs = runs }).ShouldContain("\"'=HYPERLINK(\"\"x\"\")\"");
    }

    [Fact]
    public void Json_carries_its_schema_and_every_sample_of_real_boards()
    {
        using var json = JsonDocument.Parse(Render(ReportFormat.Json));
        var root = json.RootElement;

        root.GetProperty("schema").GetString().ShouldBe("agilequant.report/1");
        root.GetProperty("matrix").GetProperty("state").GetString().ShouldBe("complete");
        var runs = root.GetProperty("runs").EnumerateArray().ToList();
        runs.Count.ShouldBe(6);
        runs[5].GetProperty("blocks")[0].GetProperty("samples")[0].GetProperty("nanoseconds").GetInt64().ShouldBe(1_280_000_000);
        runs[2].GetProperty("blocks").GetArrayLength().ShouldBe(0);
    }

    [Fact]
    public void The_same_model_gives_the_same_bytes_and_a_safe_file_name()
    {
        var one = ReportService.Render(Model, ReportFormat.Html);
        var two = ReportService.Render(SampleReport.Create(), ReportFormat.Html);

        one.Content.ShouldBe(two.Content);
        one.FileName.ShouldBe("pi--script-alert-1---script----shelf-11111111.html");
    }

    [Fact]
    public void Tables_leave_out_what_their_workload_was_not_asked_for()
    {
        var tables = ReportTable.For(Model.Matrix);

        tables.Select(t => t.Workload).ShouldBe(["quality", "speed"]);
        tables[0].Columns.Select(c => c.Heading).ShouldBe(["Device", "Model", "Precision", "Perplexity, whole text", "Δ from fp16", "On the board", "File"]);
        tables[1].Columns.Select(c => c.Heading).ShouldNotContain("Perplexity, whole text");
        tables[1].Rows[1].ShouldContain("2.50× (too few blocks for an interval)");
        tables[0].Rows[2][0].ShouldBe("arm (emulated: numerics only)");
    }

    [Fact]
    public void Every_note_a_column_refers_to_exists()
    {
        foreach (var column in ReportTable.AllColumns.Where(c => c.Note is not null))
            ReportNotes.Number(column.Note!).ShouldBeInRange(1, ReportNotes.All.Count);
    }

    private static string Render(ReportFormat format) => System.Text.Encoding.UTF8.GetString(ReportService.Render(Model, format).Content);

    private static int Columns(string line) => line.Replace(@"\|", "", StringComparison.Ordinal).Count(c => c == '|');

    private static XElement Svg(string html, string id)
    {
        var start = html.IndexOf($"<svg id=\"{id}\"", StringComparison.Ordinal);
        start.ShouldBeGreaterThan(0);
        return XElement.Parse(html[start..(html.IndexOf("</svg>", start, StringComparison.Ordinal) + 6)]);
    }
}
