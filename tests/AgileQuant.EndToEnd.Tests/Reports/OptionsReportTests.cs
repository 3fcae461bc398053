using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Reports;

/// <summary>What options of precisions add to reports: three perplexities, a second 16-bit path, calibration, the baseline's standing.</summary>
public class OptionsReportTests
{
    private const string Pruned = "w4a8+gptq+prune0.2";
    private static readonly CalibrationView Calibration = new("train", "7777", "8888888888888888", 64, 512);

    [Fact]
    public void A_pruned_run_shows_three_perplexities_and_its_difference_is_of_all_tokens()
    {
        var row = Row(Model(), Pruned);

        row["Perplexity, whole text"].ShouldStartWith("14.0000");
        row["Δ from fp16"].ShouldBe("+12.00% ± 0.50%");
        row["Survivors only"].ShouldBe("11.5000 on 81.2% of tokens; fp16 there 11.2500");
        Text(Model(), ReportFormat.Html).ShouldContain("+12.00% ± 0.50%"); // the chart's label, too
        Text(Model(), ReportFormat.Html).ShouldContain("Pruned runs have three perplexities");
    }

    [Fact]
    public void Speed_says_which_16_bit_path_is_the_fastest_and_how_many_rows_were_computed()
    {
        var table = ReportTable.For(Model().Matrix)[0];
        var row = table.Rows.Single(r => r.Contains(Pruned));

        row.ShouldContain("2.00× [1.90, 2.10] over bf16");
        row.ShouldContain("83.0%");
        table.Rows.Single(r => r.Contains("bf16")).ShouldContain("the best 16-bit path");
        ReportTable.For(Model(withBf16: false).Matrix)[0].Columns.ShouldNotContain(c => c.Note == "best16"); // fp16 is the best: the speedup says it
    }

    [Theory]
    [InlineData(ReportFormat.Html)]
    [InlineData(ReportFormat.Markdown)]
    [InlineData(ReportFormat.Json)]
    public void The_baselines_standing_and_the_calibration_are_in_every_readable_format(ReportFormat format)
    {
        var text = Text(Model(), format);

        text.ShouldContain("fp16 is 0.80 of theirs");
        text.ShouldContain("train");
        text.ShouldContain("88888888");
    }

    [Fact]
    public void Csv_has_a_column_for_each_of_the_three_and_a_name_with_plus_signs_stays_one_field()
    {
        var lines = Text(Model(), ReportFormat.Csv).TrimEnd('\n').Split('\n');
        var header = lines[0].Split(',');
        var row = lines.Single(l => l.Contains(Pruned, StringComparison.Ordinal)).Split(',');
        string At(string column) => row[Array.IndexOf(header, column)];

        row.Length.ShouldBe(header.Length);
        At("precision").ShouldBe(Pruned);
        At("perplexity_full").ShouldBe("14");
        At("perplexity_full_survivors_only").ShouldBe("11.5");
        At("perplexity_full_fp16_on_survivors").ShouldBe("11.25");
        At("perplexity_full_survivor_share").ShouldBe("0.812");
        At("prompt_best16").ShouldBe("bf16");
        At("prompt_over_best16").ShouldBe("2");
        At("prompt_row_share").ShouldBe("0.83");
        At("calibration_tokens_sha256").ShouldBe("8888888888888888");
    }

    [Theory]
    [InlineData(ReportFormat.Html)]
    [InlineData(ReportFormat.Markdown)]
    public void Skipped_runs_are_listed_with_their_reason_and_others_not(ReportFormat format)
    {
        var model = WithSkipped(Model());
        var text = Text(model, format);
        text.ShouldContain("complete: 2 of 3 runs complete, 0 without all results, 1 skipped");
        text.ShouldContain("pc · docs · all · bf16");
        text.ShouldContain("skipped: no kernel here; fp16 is the 16-bit path");
        text.ShouldContain(format == ReportFormat.Html ? "<h2>Skipped</h2>" : "## Skipped");
        Text(Model(), format).ShouldNotContain(format == ReportFormat.Html ? "<h2>Skipped</h2>" : "## Skipped");
    }

    [Fact]
    public void Data_formats_carry_the_state_and_the_reason_of_skipped_runs()
    {
        var model = WithSkipped(Model());
        Text(model, ReportFormat.Csv).ShouldContain("skipped,no kernel here; fp16 is the 16-bit path");
        Text(model, ReportFormat.Json).ShouldContain("\"state\": \"skipped\"");
    }

    private static ReportModel WithSkipped(ReportModel model)
    {
        var runs = model.Runs.Select(r => r.Run.Precision != "bf16" ? r : r with
        {
            Run = r.Run with { State = RunState.Skipped, Reason = "no kernel here; fp16 is the 16-bit path", Speed = null, Perplexity = null },
        }).ToList();
        var summary = model.Matrix.Summary with { Complete = 2, Skipped = 1 };
        return ReportModel.Create(model.Matrix with { Summary = summary, Runs = [.. runs.Select(r => r.Run)] }, runs, model.Status, model.GeneratedAt);
    }

    private static Dictionary<string, string> Row(ReportModel model, string precision)
    {
        var table = ReportTable.For(model.Matrix)[0];
        var cells = table.Rows.Single(r => r.Contains(precision));
        return table.Columns.Zip(cells).DistinctBy(c => c.First.Heading).ToDictionary(c => c.First.Heading, c => c.Second);
    }

    private static string Text(ReportModel model, ReportFormat format) => System.Text.Encoding.UTF8.GetString(ReportService.Render(model, format).Content);

    private static ReportModel Model(bool withBf16 = true)
    {
        string[] precisions = withBf16 ? ["fp16", "bf16", Pruned] : ["fp16", Pruned];
        var spec = new MatrixSpec("options", ["pc"], ["docs"], precisions, [new WorkloadSpec("all", [], 128, null, 0, "text", "llama.cpp-512", 8)], new PolicySpec(), "train");
        var runs = precisions.Select(p => Run(p, withBf16 ? "bf16" : "fp16")).ToList();
        var summary = new MatrixSummaryView(Guid.Empty, "options", MatrixState.Complete, SampleReport.At, SampleReport.At, runs.Count, runs.Count, 0, "cli");
        return ReportModel.Create(
            new MatrixView(summary, spec, runs, [], [new BaselineNote("avx512", false, "fp16 is 0.80 of theirs")]), runs.Select(Detail),
            new StatusView("0.1.0", Guid.Empty, "Postgres leases", "OpenSSH", [], "embedded", []), SampleReport.At);
    }

    private static RunSummaryView Run(string precision, string best)
    {
        var pruned = precision == Pruned;
        var survivors = pruned ? new SurvivorView(11.5, 11.25, 0.812) : null;
        return new RunSummaryView(
            Guid.NewGuid(), Guid.Empty, Guid.Empty, "pc", DeviceKind.Real, "docs", false, precision, "all", RunState.Complete, null,
            new SpeedView(
                new RateView(100, 1, 12, 0, 100, 100, precision == "fp16" ? null : new SpeedupView(2.5, 2.4, 2.6, 6), null, best,
                    precision == best ? null : new SpeedupView(2, 1.9, 2.1, 6), pruned ? 0.83 : null),
                null, 1 << 20, "avx512", 2),
            new PerplexityView("llama.cpp-512[0:8]", 15, 0.5, pruned ? 13 : null, null, 1e-5,
                new FullPerplexityView("llama.cpp-512[all 192]", 14, 0.1, pruned ? 12 : null, pruned ? 0.5 : null, 192, survivors), survivors),
            null, 1 << 20);
    }

    private static RunDetailView Detail(RunSummaryView run) => new(
        run, [], [], [], [],
        new ProvenanceView("0.1.0", "e1", "gcc", "avx512", "a2", "{}", "b3", "c4", "plan", "pc", "6.6", "boot", "OpenSSH", "2222", run.Precision == Pruned ? Calibration : null));
}
