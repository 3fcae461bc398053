using AgileQuant.Engine.Calibration;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Quantization;
using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

/// <summary>Which ways to prune, to make tokens cheap and to keep inputs at 8 bits are compared, and how.</summary>
public sealed class TokenSearchTests
{
    private static readonly ModelShape TinyLlama = Shape(22, 2048, 5632, 32, 4, 32000);

    [Theory]
    [InlineData(4, 0.2)]
    [InlineData(12, 0.5)]
    [InlineData(22, 0.8)]
    [InlineData(80, 0.2)]
    public void Every_way_to_prune_reaches_the_ratio_and_saves_no_less_than_the_deeper_half(int layers, double ratio)
    {
        var shape = TinyLlama with { Layers = layers };

        var plans = PruningPlan.Candidates(shape, ratio)
            .Select(c => new TokenPlan(new float[layers], PruningPlan.KeepShares(layers, ratio, c.First, c.Count))).ToList();

        plans[0].KeepShares.ShouldBe(PruningPlan.KeepShares(layers, ratio));
        plans.Count.ShouldBeInRange(3, 20);
        plans.Select(p => string.Join(' ', p.KeepShares)).ShouldBeUnique();
        foreach (var plan in plans)
        {
            plan.LeftAfter(layers - 1).ShouldBe(1 - ratio, 1e-5);
            plan.Work(shape).ShouldBeLessThanOrEqualTo(plans[0].Work(shape) + 1e-6);
        }
    }

    [Fact]
    public void Work_counts_a_token_that_leaves_with_the_attention_it_has_had()
    {
        var shape = Shape(2, 4, 8, 2, 2, 10); // multiply-adds by place: 48, 16, 64, 32

        var plan = new TokenPlan([0, 0], [1, 0.5f]);

        plan.Work(shape).ShouldBe((160 + 64 + 48) / 320.0, 1e-9);
    }

    [Theory]
    [InlineData(4, 0.5)]
    [InlineData(12, 0.25)]
    [InlineData(22, 0.9)]
    public void Every_way_to_make_tokens_cheap_has_the_ratio_on_average(int layers, double ratio)
    {
        var ways = TokenSearch.LowCandidates(layers, ratio);

        ways[0].ShouldAllBe(share => share == (float)ratio);
        ways.Count.ShouldBeInRange(1, 6);
        foreach (var shares in ways)
        {
            shares.Average().ShouldBe((float)ratio, 1e-5f);
            shares.Zip(shares.Skip(1)).ShouldAllBe(pair => pair.First <= pair.Second);
            shares.ShouldAllBe(share => share <= 0.9501f);
        }
    }

    [Fact]
    public void Small_models_are_scanned_input_by_input_and_large_ones_within_a_bound()
    {
        ScanSize.ForMixed(Shape(4, 256, 768, 4, 2, 4096), 16, 512).ShouldBe(new ScanSize(1, 16, 512));
        ScanSize.ForMixed(Shape(12, 768, 2048, 12, 12, 50272), 16, 512).ShouldBe(new ScanSize(1, 16, 512)); // of OPT-125M's size

        var tiny = ScanSize.ForMixed(TinyLlama, 16, 512);
        tiny.LayersTogether.ShouldBeInRange(2, 5);
        tiny.Windows.ShouldBe(4);

        var large = ScanSize.ForMixed(Shape(32, 4096, 11008, 32, 32, 32000), 16, 512); // LLaMA-7B
        large.LayersTogether.ShouldBeGreaterThan(tiny.LayersTogether);
        Math.Ceiling(32.0 / large.LayersTogether).ShouldBeGreaterThanOrEqualTo(4);
        large.Windows.ShouldBe(2);
    }

    [Fact]
    public void Groups_hold_every_input_once()
    {
        var groups = SensitivityScan.Groups(TinyLlama, 4);

        groups.Count.ShouldBe(6 * 4);
        groups.ShouldAllBe(g => g.Select(i => i.Place).Distinct().Count() == 1 && g.Count <= 4);
        groups.SelectMany(g => g).Distinct().Count().ShouldBe(22 * 4);
    }

    [Fact]
    public void Mixed_takes_the_most_gain_for_its_cost_and_nothing_that_gains_nothing()
    {
        var kept = SensitivityScan.Pick([(One(0, 0), 1.0, 4), (One(0, 1), 0.9, 1), (One(0, 2), 5, 50), (One(0, 3), -1, 1), (One(1, 1), 0.4, 1)], 6);

        kept.ShouldBe([(0, 0), (0, 1), (1, 1)]);

        static IReadOnlyList<(int, int)> One(int layer, int place) => [(layer, place)];
    }

    [Fact]
    public void A_variant_that_leaves_the_pass_late_scores_as_if_it_had_gone_its_own_way()
    {
        using var folder = new TemporaryFolder();
        var (path, _) = new TinyModel { Layers = 4 }.Import(folder, "tiny");
        using var file = GgufFile.Open(path);
        var model = new ModelWeights(file, ModelShape.FromGguf(file));
        var random = new Random(5);
        int[][] windows = [.. Enumerable.Range(0, 3).Select(_ => Enumerable.Range(0, 48).Select(_ => random.Next(40)).ToArray())];
        var recipe = PackRecipe.For(Precision.Parse("w4a4+kv8"));
        var trunk = new CalibratorOptions();
        var kept = trunk with { Kept = [(2, 1)] };

        var found = new Probe(model, recipe, windows, trunk).Measure([(2, kept), (4, trunk)], null, TestContext.Current.CancellationToken);

        found.ShouldBe([Alone(kept), Alone(trunk)]);
        found[0].ShouldNotBe(found[1]);

        double Alone(CalibratorOptions options)
        {
            var calibrator = new Calibrator(model, recipe, windows, options with { QuantizedOnly = true }, _ => { });
            calibrator.Run(null, TestContext.Current.CancellationToken);
            return calibrator.Score([0, 1, 2]).Quantized.SelectMany(w => w).Average(x => (double)x);
        }
    }

    [Fact]
    public void A_few_windows_are_of_both_kinds()
    {
        int[][] windows = [.. Enumerable.Range(0, 64).Select(w => Enumerable.Repeat(w, 20).ToArray())];

        var few = Probe.Few(windows, 8, 16);

        few.Select(w => w[0] % 2).ShouldBe([0, 1, 0, 1, 0, 1, 0, 1]);
        few.Select(w => w[0]).ShouldBeInOrder();
        few.ShouldAllBe(w => w.Length == 16);
    }

    private static ModelShape Shape(int layers, int dimension, int feedForward, int heads, int kvHeads, int vocabulary) => new()
    {
        Layers = layers,
        Dimension = dimension,
        FeedForward = feedForward,
        Heads = heads,
        KvHeads = kvHeads,
        VocabularySize = vocabulary,
        ContextLength = 2048,
        Epsilon = 1e-5f,
        TiedOutput = false,
    };
}
