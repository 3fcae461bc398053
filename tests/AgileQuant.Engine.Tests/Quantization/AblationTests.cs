using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

public sealed class AblationTests
{
    [Fact]
    public void Fp16_comes_first_and_every_dense_recipe_is_there()
    {
        foreach (var calibrated in (bool[])[true, false])
        {
            var steps = Ablation.Steps(calibrated);

            steps[0].Precision.ShouldBe(Precision.Fp16);
            steps.Select(s => s.Precision).ShouldBeUnique();
            steps.Select(s => s.Dense).ShouldBeSubsetOf(steps.Select(s => s.Precision));
            if (!calibrated)
                steps.ShouldAllBe(s => !s.Precision.NeedsCalibration);
        }
    }

    [Fact]
    public void What_scoring_survivors_alone_gains_is_told_from_what_pruning_gains()
    {
        // fp16 finds the two survivors easy; pruning makes every target a little harder.
        float[][] full = [[1, 1, 4, 4]], dense = [[1.1f, 1.1f, 4.1f, 4.1f]], pruned = [[1.2f, 1.2f, 4.4f, 4.4f]];
        var step = Ablation.Step("pruning", Precision.Parse("w4a8+prune0.5"));

        var row = Ablation.Row(step, 5, pruned, full, dense, [1, 1, 0, 0]);

        step.Dense.ShouldBe(Precision.W4A8);
        row.Loss.ShouldBe(0.3, 1e-6);
        row.SurvivorShare.ShouldBe(0.5);
        row.ApparentGain!.Value.ShouldBe(2.6 - 1.2, 1e-6); // the paper's table would show this
        row.GainByScoring!.Value.ShouldBe(2.5 - 1.0, 1e-6); // and fp16 itself "gains" more
        row.RealGain!.Value.ShouldBe(-0.2, 1e-6);
    }

    [Fact]
    public void A_recipe_that_does_not_prune_has_one_perplexity()
    {
        var row = Ablation.Row(Ablation.Step("weights", Precision.W4A8), 3, [[1, 3]], [[1, 2]], [[1, 3]], []);

        (row.All, row.Full, row.Survivors, row.RealGain).ShouldBe((2, 1.5, null, null));
    }

    [Fact]
    public void Scores_of_different_targets_are_refused()
    {
        var step = Ablation.Step("pruning", Precision.Parse("w4a8+prune0.5"));

        Should.Throw<ArgumentException>(() => Ablation.Row(step, 3, [[1, 3]], [[1]], [[1, 3]], [1, 1])).Message.ShouldContain("same targets");
        Should.Throw<ArgumentException>(() => Ablation.Row(step, 3, [[1, 3]], [[1, 2]], [[1, 3]], [1])).Message.ShouldContain("survivor flags");
    }
}
