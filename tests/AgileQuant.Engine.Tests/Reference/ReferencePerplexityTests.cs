using System.Text.Json;
using AgileQuant.Engine.Tests.Native;
using Shouldly;

namespace AgileQuant.Engine.Tests.Reference;

/// <summary>The reference forward pass against figures that this project's engine did not make.</summary>
public sealed class ReferencePerplexityTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("docs-llama", "gptq-512")]
    [InlineData("docs-llama", "llama.cpp-512")]
    [InlineData("docs-opt", "gptq-512")]
    [InlineData("docs-opt", "llama.cpp-512")]
    [InlineData("docs-bloom", "gptq-512")]
    [InlineData("docs-bloom", "llama.cpp-512")]
    public void First_windows_of_the_sample_models_score_as_in_pytorch(string model, string name)
    {
        var convention = PerplexityConvention.Parse(name);
        using var training = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Samples, model, "training.json")));
        var expected = training.RootElement.GetProperty("conventions").GetProperty(name).GetProperty("window_nll_sum");

        var nlls = NativeScores.OfReference(model, "fp16", convention, 2);

        for (var w = 0; w < nlls.Length; w++)
        {
            var (sum, theirs) = (nlls[w].Sum(x => (double)x), expected[w].GetDouble());
            output.WriteLine($"{model} {name} window {w}: {sum:F4}, PyTorch {theirs:F4}");
            sum.ShouldBe(theirs, theirs * 0.001);
        }
    }

    [Fact]
    public void Stories260K_has_the_independent_perplexity_over_all_its_windows()
    {
        var convention = PerplexityConvention.Parse("llama.cpp-512");
        var tokens = Packs.Tokens("stories260K");

        var nlls = ReferenceModel.Load(Packs.Pack("stories260K", "fp16")).Score(tokens, convention, 0, convention.WindowCount(tokens.Ids.Count));

        nlls.Length.ShouldBe(196);
        var perplexity = convention.Perplexity(nlls);
        output.WriteLine($"perplexity {perplexity:F6} +/- {convention.StandardError(nlls):F4} (numpy, weights rounded to fp16: 6.302990)");
        perplexity.ShouldBe(6.302990, 0.0063);
    }

    [Theory]
    [InlineData("w8a8", 0.02)]
    [InlineData("w4a8", 0.15)]
    [InlineData("w4a4", 1.0)]
    public void Quantized_packs_stay_near_the_baseline(string precision, double tolerance)
    {
        var convention = PerplexityConvention.Parse("llama.cpp-512");

        var baseline = convention.Perplexity(NativeScores.OfReference("docs-llama", "fp16", convention, 2));
        var quantized = convention.Perplexity(NativeScores.OfReference("docs-llama", precision, convention, 2));

        output.WriteLine($"{precision}: {quantized:F4}, fp16 {baseline:F4}");
        quantized.ShouldBe(baseline, baseline * tolerance);
        quantized.ShouldNotBe(baseline);
    }
}
