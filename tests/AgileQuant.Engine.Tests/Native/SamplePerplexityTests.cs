using System.Text.Json;
using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>The native engine's perplexity of the sample models, all windows, against PyTorch's (training.json beside each model).</summary>
public sealed class SamplePerplexityTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("docs-llama", "gptq-512")]
    [InlineData("docs-llama", "llama.cpp-512")]
    [InlineData("docs-opt", "gptq-512")]
    [InlineData("docs-opt", "llama.cpp-512")]
    [InlineData("docs-bloom", "gptq-512")]
    [InlineData("docs-bloom", "llama.cpp-512")]
    public void All_windows_have_the_perplexity_of_pytorch(string model, string name)
    {
        var engine = NativeEngine.OfThisMachine();
        var convention = PerplexityConvention.Parse(name);
        using var training = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Samples, model, "training.json")));
        var theirs = training.RootElement.GetProperty("conventions").GetProperty(name);
        var sums = theirs.GetProperty("window_nll_sum").EnumerateArray().Select(s => s.GetDouble()).ToList();

        var nlls = NativeScores.OfEngine(engine, model, "fp16", convention, sums.Count);

        var (perplexity, expected) = (convention.Perplexity(nlls), theirs.GetProperty("perplexity").GetDouble());
        output.WriteLine($"{model} {name}, {nlls.Length} windows: {perplexity:F6}, PyTorch {expected:F6} ({perplexity / expected - 1:P4})");
        nlls.Length.ShouldBe(192);
        perplexity.ShouldBe(expected, expected * 0.001);
        foreach (var (window, sum) in nlls.Zip(sums))
            window.Sum(x => (double)x).ShouldBe(sum, sum * 0.001);
    }
}
