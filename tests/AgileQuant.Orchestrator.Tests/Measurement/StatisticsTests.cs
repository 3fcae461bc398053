using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Tests.Measurement;

public sealed class StatisticsTests
{
    [Fact]
    public void Median_and_mad_are_those_of_the_book()
    {
        Statistics.Median([3, 1, 2]).ShouldBe(2);
        Statistics.Median([4, 1, 3, 2]).ShouldBe(2.5);
        Statistics.Mad([1, 1, 2, 2, 4, 6, 9]).ShouldBe(1, "the textbook example: median 2, deviations 1 1 0 0 2 4 7");
        double.IsNaN(Statistics.Median([])).ShouldBeTrue();
    }

    [Fact]
    public void Outliers_are_marked_and_nothing_is_dropped()
    {
        double[] values = [10, 10.1, 9.9, 10.05, 9.95, 20];
        Statistics.Outliers(values).ShouldBe([false, false, false, false, false, true]);
        Statistics.Outliers([10, 10, 20]).ShouldAllBe(o => !o, "too few values to call one an outlier");
        Statistics.Outliers([10, 10, 10, 10, 10, 11]).ShouldAllBe(o => !o, "without spread there is no scale");
    }

    [Fact]
    public void A_constant_ratio_has_an_interval_without_width()
    {
        var speedup = Speedup.Of([.. Enumerable.Range(1, 6).Select(i => (2.0 * i, (double)i))])!;
        speedup.Ratio.ShouldBe(2, 1e-12);
        speedup.Low!.Value.ShouldBe(2, 1e-12);
        speedup.High!.Value.ShouldBe(2, 1e-12);
        speedup.PairedBlocks.ShouldBe(6);
    }

    [Fact]
    public void Fewer_than_six_pairs_give_a_ratio_without_interval()
    {
        var speedup = Speedup.Of([(2, 1), (8, 1)])!;
        speedup.Ratio.ShouldBe(4, 1e-12, "geometric mean");
        speedup.Low.ShouldBeNull();
        speedup.High.ShouldBeNull();
        Speedup.Of([]).ShouldBeNull();
    }

    [Fact]
    public void The_interval_is_seeded_and_holds_the_truth_about_as_often_as_it_says()
    {
        var random = new Random(7);
        var held = 0;
        for (var trial = 0; trial < 200; trial++)
        {
            var pairs = Enumerable.Range(0, 12).Select(_ => (1.5 * Math.Exp(0.05 * Gaussian(random)), 1.0)).ToList();
            var interval = Speedup.Of(pairs)!;
            Speedup.Of(pairs).ShouldBe(interval);
            held += interval.Low <= 1.5 && 1.5 <= interval.High ? 1 : 0;
        }

        held.ShouldBeInRange(170, 198, "a percentile bootstrap of 12 pairs holds the truth in some 90% to 95%");
    }

    private static double Gaussian(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
