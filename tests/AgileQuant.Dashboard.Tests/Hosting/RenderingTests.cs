using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Dashboard.Model;
using AgileQuant.Dashboard.Tests.Fakes;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Web;
using Microsoft.Extensions.Logging.Abstractions;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Hosting;

/// <summary>Single components, rendered to HTML without a browser.</summary>
public sealed class RenderingTests
{
    private const string Nasty = "<script>alert(1)</script>";

    private static async Task<string> RenderAsync<T>(Dictionary<string, object?> parameters) where T : IComponent
    {
        var services = new ServiceCollection().AddLogging().AddSingleton(TimeProvider.System).BuildServiceProvider();
        await using var renderer = new HtmlRenderer(services, NullLoggerFactory.Instance);
        return await renderer.Dispatcher.InvokeAsync(async () =>
            (await renderer.RenderComponentAsync<T>(ParameterView.FromDictionary(parameters))).ToHtmlString());
    }

    [Fact]
    public async Task A_heat_map_is_a_table_whose_cells_lead_to_their_runs()
    {
        var matrix = new FakeBench().Matrices[1];
        var group = HeatMap.Build(matrix, Metric.GenerationSpeedup)[1];
        var html = await RenderAsync<HeatMapTable>(new() { [nameof(HeatMapTable.Group)] = group });
        html.ShouldContain("data-testid=\"cell-pi5-random-150m-w4a8-speed\"");
        html.ShouldContain($"href=\"/runs/{matrix.Runs.First(r => r is { Device: "pi5", Precision: "w4a8", Workload: "speed" }).Id}\"");
        html.ShouldContain(">w4a8</th>");
        html.ShouldContain("scope=\"row\"");
    }

    [Fact]
    public async Task A_skipped_cell_shows_its_reason_and_leads_to_its_run()
    {
        var matrix = new FakeBench().Matrices[1];
        var runs = matrix.Runs.Select(r => r.Precision == "w4a8" ? r with { State = RunState.Skipped, Reason = "no kernel; more words", Speed = null } : r).ToList();
        var group = HeatMap.Build(matrix with { Runs = runs }, Metric.GenerationSpeedup)[1];
        var html = await RenderAsync<HeatMapTable>(new() { [nameof(HeatMapTable.Group)] = group });
        html.ShouldContain(">skipped: no kernel</span>");
        html.ShouldContain("data-state=\"skipped\"");
        html.ShouldContain("title=\"no kernel; more words\"");
    }

    [Fact]
    public async Task Names_and_reasons_are_encoded_wherever_they_are_shown()
    {
        var job = new JobView(Guid.Empty, Nasty, Nasty, Nasty, Nasty, Nasty, Nasty, 1, 0, default, null, null);
        var jobs = await RenderAsync<JobTable>(new() { [nameof(JobTable.Jobs)] = new[] { job } });
        var chip = await RenderAsync<StateChip>(new() { [nameof(StateChip.Chip)] = Words.OfText(Nasty), [nameof(StateChip.Reason)] = Nasty });
        var copy = await RenderAsync<CopyText>(new() { [nameof(CopyText.Value)] = Nasty });
        foreach (var html in new[] { jobs, chip, copy })
        {
            html.ShouldNotContain("<script");
            html.ShouldContain("&lt;script");
        }
    }

    [Fact]
    public async Task An_outlier_is_ringed_in_the_plot_and_stays_in_it()
    {
        BlockView[] blocks =
        [
            new(0, "fp16", "generate", true, 64, [new(0, 5, 12.8, false)], 1, null),
            new(1, "w8a8", "generate", false, 64, [new(0, 3, 21.3, false), new(1, 4, 16.1, true)], 1, null),
        ];
        var html = await RenderAsync<SamplePlot>(new() { [nameof(SamplePlot.Blocks)] = blocks, [nameof(SamplePlot.Kind)] = "generate", [nameof(SamplePlot.Precision)] = "w8a8" });
        html.Split("<circle").Length.ShouldBe(4);
        html.ShouldContain("class=\"outlier\"");
        html.ShouldContain("16.1 tok/s, outlier");
    }

    [Fact]
    public async Task A_reading_that_the_board_does_not_show_is_said_not_drawn()
    {
        TelemetryPoint[] points = [new(default, null, 1500, 0.5, null, null), new(DateTimeOffset.UnixEpoch, null, 1600, 0.6, null, null)];
        var html = await RenderAsync<TelemetryCharts>(new() { [nameof(TelemetryCharts.Points)] = points });
        html.ShouldContain("This board shows no temperature");
        html.ShouldNotContain("NaN");
    }

    [Fact]
    public async Task A_pruned_run_shows_survivors_with_fp16_on_the_same_tokens_and_says_why()
    {
        var html = await RenderAsync<SurvivorFacts>(new()
        {
            [nameof(SurvivorFacts.Board)] = new SurvivorView(11.5, 11.25, 0.812),
            [nameof(SurvivorFacts.Whole)] = new SurvivorView(12.5, null, 0.8),
        });
        html.ShouldContain("11.500 on 81% of tokens; fp16 on the same tokens 11.250. Whole text: 12.500 on 80% of tokens; fp16 on the same tokens not there yet");
        html.ShouldContain("Why three perplexities?");
    }

    [Fact]
    public async Task A_rate_shows_the_faster_16_bit_path_and_the_rows_that_were_computed()
    {
        var rate = new RateView(260, 1, 12, 0, 260, 260, new(2.6, 2.5, 2.7, 6), null, "bf16", new(2, 1.9, 2.1, 6), 0.83);
        var html = await RenderAsync<RateCard>(new() { [nameof(RateCard.Title)] = "Prefill", [nameof(RateCard.Rate)] = rate });
        html.ShouldContain("2.00&#xD7;");
        html.ShouldContain("over bf16");
        html.ShouldContain("83%");
        var plain = await RenderAsync<RateCard>(new() { [nameof(RateCard.Title)] = "Prefill", [nameof(RateCard.Rate)] = rate with { Best16 = "fp16", RowShare = null } });
        plain.ShouldNotContain("over fp16<");
        plain.ShouldNotContain("Rows computed");
    }

    [Fact]
    public async Task Provenance_names_the_calibration_text()
    {
        var provenance = new ProvenanceView(null, null, null, null, null, "{}", null, null, null, null, null, null, "OpenSSH", "c",
            new CalibrationView("docs-train", "aa", "3f2a99887766554433", 64, 512));
        var html = await RenderAsync<ProvenanceTable>(new() { [nameof(ProvenanceTable.Provenance)] = provenance });
        html.ShouldContain("docs-train, 64 windows of 512 ids, tokens 3f2a99887766");
        html.ShouldContain("Why a calibration text?");
    }

    [Fact]
    public async Task A_precision_with_options_heads_its_column_and_names_its_cells()
    {
        var matrix = new FakeBench().Matrices[1];
        var run = matrix.Runs.First(r => r is { Device: "pi5", Precision: "w4a8", Workload: "speed" }) with { Precision = "w4a8+gptq+prune0.2" };
        var spec = matrix.Spec with { Precisions = ["w4a8+gptq+prune0.2"] };
        var html = await RenderAsync<HeatMapTable>(new() { [nameof(HeatMapTable.Group)] = HeatMap.Build(matrix with { Spec = spec, Runs = [run] }, Metric.GenerationSpeedup)[0] });
        html.ShouldContain(">w4a8&#x2B;gptq&#x2B;prune0.2</th>");
        html.ShouldContain("data-testid=\"cell-pi5-random-150m-w4a8&#x2B;gptq&#x2B;prune0.2-speed\"");
    }
}
