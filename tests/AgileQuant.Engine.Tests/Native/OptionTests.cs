using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>The options of pack format 2: the native engine against the reference, on trained models.</summary>
public sealed class OptionTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("docs-llama", "w4a8+asym")]
    [InlineData("docs-opt", "w4a4+asym")]
    [InlineData("docs-bloom", "w4a8+asym")]
    [InlineData("docs-llama", "w8a8+log2")]
    [InlineData("docs-opt", "w4a8+uniform")]
    [InlineData("docs-bloom", "w4a4+uniform")]
    [InlineData("docs-bloom", "w4a4+softmax")]
    public void Packs_with_options_have_the_logits_of_the_reference(string model, string precision) =>
        Check($"{model} {precision}", Packs.Pack(model, precision), model);

    [Theory]
    [InlineData("docs-llama", "w8a8", "trip")]
    [InlineData("docs-opt", "w4a8", "trip")]
    [InlineData("docs-bloom", "w4a4", "trip")]
    [InlineData("docs-llama", "w4a4", "trip-shifted")]
    [InlineData("docs-opt", "w8a8", "trip-shifted")]
    [InlineData("docs-bloom", "w4a8", "trip-shifted")]
    [InlineData("docs-llama", "w4a8", "trip-static")]
    [InlineData("docs-opt", "w4a4", "trip-static")]
    [InlineData("docs-bloom", "w8a8", "trip-static")]
    [InlineData("docs-llama", "w4a4", "mixed")]
    [InlineData("docs-bloom", "w4a4", "trip+mixed")]
    [InlineData("docs-llama", "w8a8", "low0.5")]
    [InlineData("docs-llama", "w4a8", "low0.5")]
    [InlineData("docs-llama", "w8a8", "prune0.2")]
    [InlineData("docs-bloom", "w4a8", "prune0.2")]
    [InlineData("docs-llama", "w4a4", "prune-paper0.4")]
    [InlineData("docs-opt", "w8a8", "prune-paper0.4")]
    [InlineData("docs-bloom", "w8a8", "low0.5+prune-paper0.4")]
    [InlineData("docs-llama", "w4a8", "kv8")]
    [InlineData("docs-opt", "fp16", "kv8")]
    [InlineData("docs-bloom", "w4a4", "prune0.2+kv8")]
    public void Options_put_in_by_hand_have_the_logits_of_the_reference(string model, string precision, string options)
    {
        var pack = Packs.PackWith(model, precision, options);

        Check($"{model} {precision}+{options}", pack, model);

        // The option did something to these tokens.
        var ids = Packs.Tokens(model).Ids.Take(NativeLogits.Count).ToList();
        var plain = ReferenceModel.Load(Packs.Pack(model, precision)).Logits(ids);
        ReferenceModel.Load(pack).Logits(ids).Zip(plain).ShouldContain(pair => !pair.First.SequenceEqual(pair.Second));
    }

    [Theory]
    [InlineData("docs-llama")]
    [InlineData("docs-opt")]
    [InlineData("docs-bloom")]
    public void Bf16_packs_are_near_the_reference(string model)
    {
        // Sums of bf16 products are taken in any order: near, not equal.
        foreach (var (isa, differences) in NativeLogits.Differences(Packs.Pack(model, "bf16"), model))
        {
            output.WriteLine($"{model} bf16 {isa}: mean {differences.Average():E2}, largest {differences.Max():E2}");
            differences.Average().ShouldBeLessThan(0.01);
        }
    }

    private void Check(string name, string pack, string model)
    {
        foreach (var (isa, differences) in NativeLogits.Differences(pack, model))
        {
            output.WriteLine($"{name} {isa}: mean {differences.Average():E2}, largest {differences.Max():E2}");
            differences.Average().ShouldBeLessThan(1e-6);
        }
    }
}
