using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Tests.Measurement;

public sealed class FiguresTests
{
    private static TimedBlock Block(int index, int round, string precision, params double[] rates) =>
        new(index, round, precision, "prefill", 100, [.. rates.Select(r => (long)(100e9 / r))], 1000 + index);

    [Fact]
    public void Speed_has_median_spread_burst_and_sustained()
    {
        var blocks = new[] { Block(0, 0, "fp16", 100, 100), Block(1, 1, "fp16", 90, 90), Block(2, 2, "fp16", 80, 80) };
        var speed = SpeedFigures.Of("fp16", blocks, null, "avx2", 2);
        speed.Prefill!.Median.ShouldBe(90, 1e-6);
        speed.Prefill.Burst.ShouldBe(100, 1e-6);
        speed.Prefill.Sustained.ShouldBe(80, 1e-6);
        speed.Prefill.Repetitions.ShouldBe(6);
        speed.Prefill.MadPercent.ShouldBe(100 * 10 / 90.0, 1e-4);
        speed.Prefill.SpeedupNote.ShouldBe("this is the baseline");
        speed.Generation.ShouldBeNull("the workload did not ask for it");
        speed.PeakMemoryBytes.ShouldBe(1002);
    }

    [Fact]
    public void Speedup_pairs_blocks_of_the_same_round_even_when_the_board_drifts()
    {
        // The board slows down to half over the job; both precisions slow down alike, so the ratio stays exact.
        var blocks = new List<TimedBlock>();
        for (var round = 0; round < 6; round++)
        {
            var slow = 1 - 0.1 * round;
            blocks.Add(Block(2 * round, round, "fp16", 100 * slow));
            blocks.Add(Block(2 * round + 1, round, "w8a8", 250 * slow));
        }

        var speedup = SpeedFigures.Of("w8a8", blocks, null, "avx2", 2).Prefill!.Speedup!;
        speedup.Ratio.ShouldBe(2.5, 1e-6);
        (speedup.High - speedup.Low)!.Value.ShouldBeLessThan(1e-6);
        speedup.PairedBlocks.ShouldBe(6);
    }

    [Fact]
    public void Without_a_baseline_there_is_no_speedup_but_a_note()
    {
        var rate = SpeedFigures.Of("w8a8", [Block(0, 0, "w8a8", 50)], "no baseline: needs 3.0 GiB", "neon", 4).Prefill!;
        rate.Speedup.ShouldBeNull();
        rate.SpeedupNote.ShouldBe("no baseline: needs 3.0 GiB");
        SpeedFigures.Of("w8a8", [Block(0, 0, "fp16", 50), Block(1, 0, "w8a8", 100)], null, "neon", 4).Prefill!.SpeedupNote
            .ShouldBe(Speedup.TooFewBlocks);
    }

    [Theory]
    [InlineData(130, "bf16", 2)]
    [InlineData(80, "fp16", 2.6)]
    public void Speedup_over_the_best_16_bit_path_names_it(double bf16, string best, double ratio)
    {
        var blocks = new List<TimedBlock>();
        for (var round = 0; round < 6; round++)
        {
            blocks.Add(Block(3 * round, round, "fp16", 100));
            blocks.Add(Block(3 * round + 1, round, "bf16", bf16));
            blocks.Add(Block(3 * round + 2, round, "w8a8+prune0.2", 260) with { RowShare = 0.8 });
        }

        var rate = SpeedFigures.Of("w8a8+prune0.2", blocks, null, "avx512", 2).Prefill!;
        rate.Speedup!.Ratio.ShouldBe(2.6, 1e-6);
        rate.Best16.ShouldBe(best);
        rate.OverBest16!.Ratio.ShouldBe(ratio, 1e-6);
        rate.OverBest16.Low.ShouldNotBeNull();
        rate.RowShare!.Value.ShouldBe(0.8, 1e-9);
        var own = SpeedFigures.Of(best, blocks, null, "avx512", 2).Prefill!;
        (own.Best16, own.OverBest16, own.RowShare).ShouldBe((best, null, null));
    }

    [Fact]
    public void Survivors_are_averaged_by_the_convention_and_compared_on_the_same_tokens()
    {
        float[][] pruned = [[1, 9, 3], [2, 9, 9]], fp16 = [[1, 5, 1], [1, 5, 5]];
        byte[][] masks = [[1, 0, 1], [1, 0, 0]];
        var pooled = PerplexityFigures.OnSurvivors(pruned, masks, fp16, byWindow: false)!;
        pooled.Value.ShouldBe(Math.Exp((1 + 3 + 2) / 3.0), 1e-9);
        pooled.BaselineValue!.Value.ShouldBe(Math.Exp(1), 1e-9);
        pooled.Share.ShouldBe(0.5, 1e-9);
        PerplexityFigures.OnSurvivors(pruned, masks, null, byWindow: true)!.Value.ShouldBe(Math.Exp((2 + 2) / 2.0), 1e-9);
        PerplexityFigures.OnSurvivors(pruned, masks, null, byWindow: true)!.BaselineValue.ShouldBeNull();
        PerplexityFigures.OnSurvivors([[1, 2]], [[0, 0]], null, byWindow: true).ShouldBeNull("nothing survived");
        Should.Throw<ArgumentException>(() => PerplexityFigures.OnSurvivors(pruned, [[1, 0, 1]], null, byWindow: true));
    }

    [Fact]
    public void Perplexity_is_the_exponential_of_the_mean_and_its_error_is_clustered_by_window()
    {
        float[][] windows = [[1, 3], [2, 4]];
        var estimate = PerplexityFigures.Perplexity(windows);
        estimate.Value.ShouldBe(Math.Exp(2.5), 1e-9);
        // Window means 2 and 3: standard deviation sqrt(0.5), standard error 0.5.
        estimate.StandardError!.Value.ShouldBe(0.5 * Math.Exp(2.5), 1e-9);
        PerplexityFigures.Perplexity([[1, 3]]).StandardError.ShouldBeNull();
    }

    [Fact]
    public void A_difference_is_paired_on_identical_windows()
    {
        float[][] fp16 = [[1, 3], [2, 4]], w4 = [[1.1f, 3.1f], [2.3f, 4.3f]];
        var delta = PerplexityFigures.DeltaPercent(w4, fp16);
        delta.Value.ShouldBe(100 * (Math.Exp(0.2) - 1), 1e-4);
        delta.StandardError!.Value.ShouldBe(100 * 0.1 * Math.Exp(0.2), 1e-4);
        Should.Throw<ArgumentException>(() => PerplexityFigures.DeltaPercent(w4, [fp16[0]]));
        PerplexityFigures.Name("llama.cpp-512", 8, false).ShouldBe("llama.cpp-512[0:8]");
        PerplexityFigures.Name("gptq-512", 192, true).ShouldBe("gptq-512[all 192]");
    }

    [Fact]
    public void A_board_that_disagrees_with_the_node_is_told_apart_from_rounding()
    {
        float[][] node = [[1, 2], [3, 4]];
        Agreement.Problem("w8a8", [[1.01f, 2], [3, 4]], node).ShouldBeNull();
        Agreement.Problem("w8a8", [[1.03f, 2], [3, 4]], node).ShouldNotBeNull().ShouldContain("0.03 nat");
        Agreement.Problem("w4a8", [[1.03f, 2], [3, 4]], node).ShouldNotBeNull();
        Agreement.Problem("w4a4", [[1.01f, 2.01f], [3, 4]], node).ShouldBeNull();
        Agreement.Problem("w4a4", [[2, 1.01f], [3, 4]], node).ShouldBeNull("single tokens of 4-bit activations may move; the window's mean does not");
        Agreement.Problem("w4a4", [[1.3f, 2], [3, 4]], node).ShouldNotBeNull().ShouldContain("window");
        Agreement.Problem("fp16", [[1.1f, 1.9f], [3, 4]], node).ShouldBeNull("fp16 arithmetic moves single tokens");
        Agreement.Problem("fp16", [[1.3f, 1.7f], [3, 4]], node).ShouldNotBeNull().ShouldContain("token");
        Agreement.Problem("fp16", [[1.1f, 2], [3, 4]], node).ShouldNotBeNull().ShouldContain("window");
        Agreement.Problem("fp16", [[float.NaN, 2], [3, 4]], node).ShouldNotBeNull();
        Agreement.Problem("fp16", [[1], [3]], node).ShouldNotBeNull("another number of targets");
    }
}
