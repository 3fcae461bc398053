using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Tests.Domain;

public sealed class PrecisionNamesTests
{
    [Theory]
    [InlineData("w8a8", false, false)]
    [InlineData("w4a4+gptq", true, false)]
    [InlineData("w4a8+low0.5", true, false)]
    [InlineData("w8a8+log2", true, false)]
    [InlineData("w8a8+prune0.2", false, true)]
    [InlineData("w4a4+prune-paper0.2", true, true)]
    public void Names_say_what_agreement_and_perplexity_need_to_know(string name, bool coarse, bool pruned)
    {
        PrecisionNames.IsCoarse(name).ShouldBe(coarse);
        PrecisionNames.IsPruned(name).ShouldBe(pruned);
        PrecisionNames.Canonical(name).ShouldBe(name);
    }

    [Fact]
    public void Bf16_needs_the_instruction_and_an_unknown_board_is_not_refused()
    {
        PrecisionNames.WhyNot("bf16+kv8", ["fp16", "w8a8"]).ShouldNotBeNull().ShouldContain("aqengine info");
        PrecisionNames.WhyNot("bf16", ["fp16", "bf16"]).ShouldBeNull();
        PrecisionNames.WhyNot("bf16", null).ShouldBeNull();
        PrecisionNames.WhyNot("w8a8", ["fp16"]).ShouldBeNull();
    }

    [Fact]
    public void The_order_is_by_base_then_by_the_number_of_options() =>
        PrecisionNames.InOrder(["w4a4", "w4a8+gptq+trip", "w4a8", "bf16", "w4a8+gptq", "fp16"], p => p)
            .ShouldBe(["fp16", "bf16", "w4a8", "w4a8+gptq", "w4a8+gptq+trip", "w4a4"]);

    [Fact]
    public void A_pruned_pack_may_differ_in_a_token_but_not_in_a_windows_mean()
    {
        float[] node = new float[1000], flipped = [.. node], drifted = [.. node.Select(_ => 0.05f)];
        flipped[3] = 9;
        Agreement.Problem("w8a8", [flipped], [node]).ShouldNotBeNull();
        Agreement.Problem("w8a8+prune0.2", [flipped], [node]).ShouldBeNull("9 nat in one of 1000 tokens");
        Agreement.Problem("w8a8+prune0.2", [drifted], [node]).ShouldNotBeNull().ShouldContain("window");
        Agreement.Problem("w8a8+prune0.2", [[float.NaN]], [[1f]]).ShouldNotBeNull();
    }

    [Fact]
    public void An_order_is_the_recipe_itself_where_nothing_is_calibrated()
    {
        var plain = Engine.Precision.W4A8;
        PackOrder.For(plain, 64, null).Text.ShouldBe(Engine.PackRecipe.For(plain, 64).ToCanonicalJson());
        PackOrder.For(plain, 64, null).Sha256.ShouldBe(Engine.PackRecipe.For(plain, 64).Sha256, "packs made before keep their identity");
        var calibrated = Engine.Precision.Parse("w4a8+gptq");
        PackOrder.For(calibrated, 64, "aa").Sha256.ShouldNotBe(PackOrder.For(calibrated, 64, "bb").Sha256);
        PackOrder.GroupSizeOf(PackOrder.For(calibrated, 64, "aa").Text).ShouldBe(64);
        PackOrder.CalibrationOf(PackOrder.For(calibrated, 64, "aa").Text).ShouldBeNull();
        Should.Throw<ArgumentNullException>(() => PackOrder.For(calibrated, 64, null));
    }

    [Fact]
    public void A_node_with_too_little_memory_says_what_it_needs()
    {
        var shape = new ModelShape(22, 2048, 5632, 32, 4, 32000); // TinyLlama 1.1B
        var needed = PackMemory.Needed(shape, calibrated: true, processors: 2);
        needed.ShouldBeInRange(3L << 30, 8L << 30);
        PackMemory.Problem("tinyllama as w4a8+gptq", needed, 1L << 30).ShouldNotBeNull().ShouldContain("needs");
        PackMemory.Problem("tinyllama as w4a8+gptq", needed, 16L << 30).ShouldBeNull();
        PackMemory.Problem("tinyllama as w4a8+gptq", needed, null).ShouldBeNull();
    }

    [Fact]
    public void The_memory_said_to_be_needed_is_above_the_measured_peak_and_not_far_above()
    {
        // Peak resident sizes of bench quantize --precision w4a8+gptq on random models of these shapes, two cores.
        Check(PackMemory.Needed(new ModelShape(4, 128, 384, 4, 2, 8192), calibrated: true, processors: 2), 313_408L << 10);
        Check(PackMemory.Needed(new ModelShape(16, 768, 2048, 12, 4, 32000), calibrated: true, windows: 8, processors: 2), 668_040L << 10);

        static void Check(long needed, long measured) => needed.ShouldBeInRange(measured, 2 * measured);
    }
}
