using Shouldly;

namespace AgileQuant.Engine.Tests.Samples;

public sealed class CalibrationSampleTests
{
    private static readonly string Hashes = Path.Combine(TestData.Samples, "heldout.hashes");

    [Fact]
    public void It_is_large_enough_the_same_each_time_and_has_no_sentence_that_is_scored()
    {
        var sample = CalibrationSample.Build(Hashes);
        var scored = HeldOutText.Rebuild(Hashes).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries).ToHashSet();
        var lines = sample.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        lines.Length.ShouldBe(sample.Sentences);
        lines.Length.ShouldBeInRange(500, 20_000);
        lines.ShouldAllBe(l => !scored.Contains(l));
        CalibrationSample.Build(Hashes).Sha256.ShouldBe(sample.Sha256);
    }
}
