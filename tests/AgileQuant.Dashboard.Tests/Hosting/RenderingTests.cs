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
}
