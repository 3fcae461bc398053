using AgileQuant.Engine.Quantization;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

public sealed class TokenThresholdTests
{
    [Fact]
    public void The_share_below_is_the_nearest_that_the_values_allow()
    {
        var problems =
            from values in Gen.Choose(0, 12).Select(v => v / 8f).ListOf(40)
            from share in Gen.Choose(0, 100)
            select (values, share / 100.0);

        Prop.ForAll(problems.ToArbitrary(), p =>
        {
            var threshold = TokenThresholds.ForShare([.. p.values], p.Item2);
            var below = p.values.Count(v => v < threshold);
            var possible = p.values.Select(v => p.values.Count(w => w < v)).Append(p.values.Count).Append(0);
            return Math.Abs(below - p.Item2 * 40) <= possible.Min(n => Math.Abs(n - p.Item2 * 40)) + 1e-9;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void The_papers_way_lets_the_least_important_leave_and_of_equal_ones_the_later()
    {
        bool[] isProtected = [true, false, false, false, false, true];

        TokenThresholds.Paper([0, 2, 1, 1, 3, 0], isProtected, 0.6f).ShouldBe([true, true, false, false, true, true]);
        TokenThresholds.Paper([0, 1, 1, 1, 1, 0], isProtected, 0.8f).ShouldBe([true, true, true, true, false, true]);
    }

    [Fact]
    public void Keep_shares_remove_the_ratio_in_the_deeper_half()
    {
        var keep = PruningPlan.KeepShares(12, 0.5);

        keep.Take(6).ShouldAllBe(k => k == 1);
        keep.Aggregate(1.0, (left, k) => left * k).ShouldBe(0.5, 1e-6);
    }

}
