using AgileQuant.Dashboard.Model;
using AgileQuant.Dashboard.Tests.Fakes;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Model;

public sealed class HeatMapTests
{
    private static readonly WorkloadSpec Workload = new("main", [], 512, 64, 0, "text", "llama.cpp-512", 8);

    private static RunSummaryView Run(RunState state, string precision = "w8a8", DeviceKind kind = DeviceKind.Real, bool random = false, string? reason = null) =>
        FakeRuns.Cell(Guid.Empty, FakeDevices.Shelf()[0] with { Kind = kind }, "model", random, precision, Workload, state, reason);

    private static RunSummaryView WithRate(RateView rate, string precision = "w8a8") =>
        Run(RunState.Complete, precision) with { Speed = new(null, rate, null, "avx2", 4) };

    [Theory]
    [InlineData(RunState.Waiting, "waiting", CellTone.Pending)]
    [InlineData(RunState.Packing, "packing", CellTone.Active)]
    [InlineData(RunState.Queued, "queued", CellTone.Pending)]
    [InlineData(RunState.Running, "running", CellTone.Active)]
    [InlineData(RunState.Incomplete, "incomplete", CellTone.Failed)]
    [InlineData(RunState.Cancelled, "cancelled", CellTone.Cancelled)]
    public void A_run_without_a_figure_shows_its_state_and_explains_it_with_its_reason(RunState state, string text, CellTone tone)
    {
        var cell = HeatMap.Cell(Run(state, reason: "because of this"), Metric.GenerationSpeedup);
        (cell.Text, cell.Tone, cell.Explanation, cell.Value).ShouldBe((text, tone, "because of this", null));
    }

    [Fact]
    public void A_skipped_run_says_why_in_its_cell_whatever_the_metric()
    {
        const string reason = "this CPU has no bf16 instruction; fp16 is the 16-bit path here";
        foreach (var metric in Enum.GetValues<Metric>())
        {
            var cell = HeatMap.Cell(Run(RunState.Skipped, "bf16", reason: reason), metric);
            (cell.Text, cell.Tone, cell.Explanation, cell.Value).ShouldBe(("skipped: this CPU has no bf16 instruction", CellTone.NotApplicable, reason, null));
        }
    }

    [Fact]
    public void Every_state_has_a_text_for_every_metric()
    {
        foreach (var state in Enum.GetValues<RunState>())
        {
            foreach (var metric in Enum.GetValues<Metric>())
            {
                foreach (var precision in new[] { "fp16", "w4a4" })
                {
                    var cell = HeatMap.Cell(Run(state, precision), metric);
                    cell.Text.ShouldNotBeNullOrWhiteSpace();
                    cell.Explanation.ShouldNotBeNullOrWhiteSpace();
                }
            }
        }
    }

    [Fact]
    public void A_speedup_shows_its_interval_and_says_whether_it_is_significant()
    {
        var fast = HeatMap.Cell(WithRate(new(40, 1, 18, 0, 41, 39, new(1.82, 1.75, 1.89, 6), null)), Metric.GenerationSpeedup);
        (fast.Text, fast.Detail).ShouldBe(("1.82×", "1.75–1.89×"));
        fast.Explanation.ShouldStartWith("Faster than fp16");

        var even = HeatMap.Cell(WithRate(new(40, 1, 18, 0, 41, 39, new(1.01, 0.97, 1.05, 6), null)), Metric.GenerationSpeedup);
        even.Explanation.ShouldContain("no difference shown");

        var slow = HeatMap.Cell(WithRate(new(40, 1, 18, 0, 41, 39, new(0.8, 0.75, 0.85, 6), null)), Metric.GenerationSpeedup);
        slow.Explanation.ShouldStartWith("Slower than fp16");
    }

    [Fact]
    public void A_cell_explains_the_faster_16_bit_path_the_rows_and_the_three_perplexities()
    {
        var speed = HeatMap.Cell(WithRate(new(40, 1, 18, 0, 41, 39, new(1.82, 1.75, 1.89, 6), null, "bf16", new(1.4, 1.3, 1.5, 6), 0.83)), Metric.GenerationSpeedup);
        speed.Value.ShouldBe(1.82, "the colour goes by fp16");
        speed.Explanation.ShouldContain("Over bf16, the fastest 16-bit path here: 1.40× (1.30–1.50×).");
        speed.Explanation.ShouldContain("83% of the rows were computed");

        var run = Run(RunState.Complete);
        var delta = HeatMap.Cell(run with { Perplexity = run.Perplexity! with { Survivors = new(5, 4.9, 0.8), Full = null } }, Metric.PerplexityDelta);
        delta.Value.ShouldBe(run.Perplexity!.DeltaPercent, "survivors never make a difference");
        delta.Explanation.ShouldContain("Survivors only (80% of tokens): 5.000; fp16 on the same tokens: 4.900.");
    }

    [Fact]
    public void The_whole_text_leads_once_it_is_scored_and_the_board_is_named()
    {
        var run = Run(RunState.Complete) with { Perplexity = new("llama.cpp-512[0:2]", 43.6, 12, -0.06, 0.49, 0.001, null) };
        var before = HeatMap.Cell(run, Metric.PerplexityDelta);
        (before.Value, before.Detail).ShouldBe((-0.06, "± 0.49%"));

        var scored = run with { Perplexity = run.Perplexity with { Full = new("llama.cpp-512[all 192]", 13.34, 0.9, 0.34, 0.05, 192) } };
        var delta = HeatMap.Cell(scored, Metric.PerplexityDelta);
        (delta.Value, delta.Text, delta.Detail).ShouldBe((0.34, "+0.34%", "± 0.05%, whole text"));
        delta.Explanation.ShouldContain("llama.cpp-512[all 192]: 13.340");
        delta.Explanation.ShouldContain("the board computed llama.cpp-512[0:2]: 43.600.");
        HeatMap.Cell(scored, Metric.Perplexity).Value.ShouldBe(13.34);

        var noBaseline = run with { Perplexity = run.Perplexity with { Full = new("llama.cpp-512[all 192]", 13.34, 0.9, null, null, 192) } };
        HeatMap.Cell(noBaseline, Metric.PerplexityDelta).Value.ShouldBe(-0.06, "nothing to compare the whole text with yet");
    }

    [Fact]
    public void Too_few_blocks_show_the_ratio_without_an_interval()
    {
        var cell = HeatMap.Cell(WithRate(new(40, 1, 9, 0, 41, 39, new(1.82, null, null, 3), null)), Metric.GenerationSpeedup);
        (cell.Text, cell.Detail).ShouldBe(("1.82×", "too few blocks"));
        cell.Explanation.ShouldContain("3 paired blocks: too few blocks for an interval");
    }

    [Fact]
    public void Without_a_baseline_the_speed_stays_and_the_note_says_why()
    {
        var cell = HeatMap.Cell(WithRate(new(40, 1, 18, 0, 41, 39, null, "no baseline: needs 4.2 GiB")), Metric.GenerationSpeedup);
        (cell.Text, cell.Detail, cell.Explanation, cell.Shade).ShouldBe(("no baseline", "40.0 tok/s", "no baseline: needs 4.2 GiB", null));
    }

    [Theory]
    [InlineData(DeviceKind.Emulated, "emulated: numerics only")]
    [InlineData(DeviceKind.Simulated, "simulated: numerics only")]
    public void A_device_that_is_not_real_never_shows_a_speed_even_if_one_was_stored(DeviceKind kind, string words)
    {
        var run = Run(RunState.Complete, kind: kind) with { Speed = new(new(9, 1, 3, 0, 9, 9, null, null), new(9, 1, 3, 0, 9, 9, null, null), 1, "neon", 1) };
        foreach (var metric in Enum.GetValues<Metric>().Where(HeatMap.IsSpeed))
        {
            var cell = HeatMap.Cell(run, metric);
            (cell.Text, cell.Value).ShouldBe(("numerics only", null));
            cell.Explanation.ShouldContain(words);
        }

        HeatMap.Cell(run, Metric.Perplexity).Value.ShouldNotBeNull();
    }

    [Fact]
    public void Random_weights_never_show_a_perplexity_even_if_one_was_stored()
    {
        var run = Run(RunState.Complete, random: true);
        run.Perplexity.ShouldNotBeNull();
        foreach (var metric in new[] { Metric.Perplexity, Metric.PerplexityDelta })
        {
            var cell = HeatMap.Cell(run, metric);
            (cell.Text, cell.Value).ShouldBe(("speed only", null));
            cell.Explanation.ShouldContain("random weights: speed only");
        }
    }

    [Fact]
    public void A_figure_is_shown_as_soon_as_it_is_accepted_though_the_run_goes_on()
    {
        var run = Run(RunState.Complete) with { State = RunState.Running, Perplexity = null };
        HeatMap.Cell(run, Metric.GenerationSpeed).Tone.ShouldBe(CellTone.Value);
        HeatMap.Cell(run, Metric.PerplexityDelta).Text.ShouldBe("running");
    }

    [Fact]
    public void The_better_of_two_is_the_greener_in_every_metric()
    {
        HeatMap.Shade(3, [1.5, 3], Metric.GenerationSpeedup).ShouldBeGreaterThan(HeatMap.Shade(1.5, [1.5, 3], Metric.GenerationSpeedup));
        HeatMap.Shade(0.5, [0.5, 2], Metric.GenerationSpeedup).ShouldBeLessThan(0);
        HeatMap.Shade(0.1, [0.1, 9], Metric.PerplexityDelta).ShouldBeGreaterThan(HeatMap.Shade(9, [0.1, 9], Metric.PerplexityDelta));
        HeatMap.Shade(8, [8, 12], Metric.Perplexity).ShouldBeGreaterThan(HeatMap.Shade(12, [8, 12], Metric.Perplexity));
        HeatMap.Shade(20, [5, 20], Metric.PrefillSpeed).ShouldBe(1);
    }

    [Fact]
    public void Each_model_and_workload_is_a_map_of_its_own_that_shows_what_it_measures()
    {
        var matrix = new FakeBench().Matrices[0];
        var groups = HeatMap.Build(matrix, Metric.GenerationSpeedup);
        groups.Select(g => (g.Model, g.Workload, g.Metric)).ShouldBe([
            ("sample-llama", "quality", Metric.PerplexityDelta), ("random-150m", "speed", Metric.GenerationSpeedup)]);
        groups[0].Precisions.ShouldBe(["fp16", "w8a8", "w4a8", "w4a4"]);
        groups[0].Rows.Select(r => r.Device).ShouldBe(matrix.Spec.Devices);
        groups.SelectMany(g => g.Rows).ShouldAllBe(r => r.Cells.Count == 4);
    }
}
