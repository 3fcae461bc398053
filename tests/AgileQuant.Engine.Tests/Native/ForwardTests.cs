using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>The native forward pass against the reference, on trained models.</summary>
public sealed class ForwardTests(ITestOutputHelper output)
{
    private static readonly PerplexityConvention Convention = PerplexityConvention.Parse("llama.cpp-512");

    [Theory]
    [InlineData("stories260K", "fp16")]
    [InlineData("stories260K", "w8a8")]
    [InlineData("stories260K", "w4a8")]
    [InlineData("stories260K", "w4a4")]
    [InlineData("docs-llama", "fp16")]
    [InlineData("docs-llama", "w8a8")]
    [InlineData("docs-llama", "w4a8")]
    [InlineData("docs-llama", "w4a4")]
    [InlineData("docs-opt", "fp16")]
    [InlineData("docs-opt", "w8a8")]
    [InlineData("docs-opt", "w4a8")]
    [InlineData("docs-opt", "w4a4")]
    [InlineData("docs-bloom", "fp16")]
    [InlineData("docs-bloom", "w8a8")]
    [InlineData("docs-bloom", "w4a8")]
    [InlineData("docs-bloom", "w4a4")]
    public void Logits_are_those_of_the_reference(string model, string precision)
    {
        foreach (var (isa, differences) in NativeLogits.Differences(Packs.Pack(model, precision), model))
        {
            output.WriteLine($"{model} {precision} {isa}: mean {differences.Average():E2}, largest {differences.Max():E2}");
            // The order of additions is part of the contract: the same bits, unless two libraries disagree on a cosine.
            differences.Average().ShouldBeLessThan(1e-6);
        }
    }

    [Theory]
    [InlineData(RandomFolder.Opt350M)]
    [InlineData(RandomFolder.Opt)]
    [InlineData(RandomFolder.Bloom)]
    public void Kinds_of_models_that_the_samples_are_not_have_the_logits_of_the_reference(string config)
    {
        using var folder = new TemporaryFolder();
        RandomFolder.Write(folder.File("model"), config);
        ModelImporter.Import(folder.File("model"), folder.File("model.gguf"), cancellation: TestContext.Current.CancellationToken);
        int[] ids = [.. Enumerable.Range(0, 33).Select(i => i * 29 % 70)];
        TokenFile.Write(folder.File("tokens"), ids, 70, -1, addsBos: false);
        foreach (var precision in Packs.Precisions)
        {
            Packer.Pack(folder.File("model.gguf"), PackRecipe.For(Precision.Parse(precision)), folder.File(precision),
                cancellation: TestContext.Current.CancellationToken);

            foreach (var (isa, differences) in NativeLogits.Differences(NativeEngine.OfThisMachine(), folder.File(precision), ids, folder.File("tokens")))
            {
                output.WriteLine($"{precision} {isa}: mean {differences.Average():E2}, largest {differences.Max():E2}");
                differences.Average().ShouldBeLessThan(1e-6);
            }
        }
    }

    [Theory]
    [InlineData("stories260K", "fp16")]
    [InlineData("stories260K", "w8a8")]
    [InlineData("stories260K", "w4a8")]
    [InlineData("stories260K", "w4a4")]
    [InlineData("docs-llama", "fp16")]
    [InlineData("docs-llama", "w8a8")]
    [InlineData("docs-llama", "w4a8")]
    [InlineData("docs-llama", "w4a4")]
    public void First_windows_have_the_perplexity_of_the_reference(string model, string precision)
    {
        var engine = NativeEngine.OfThisMachine();
        var reference = NativeScores.OfReference(model, precision, Convention, 2);

        foreach (var isa in engine.Isas)
        {
            var native = NativeScores.OfEngine(engine, "host", isa, model, Convention, 2)[precision];

            var (ours, theirs) = (Convention.Perplexity(native), Convention.Perplexity(reference));
            output.WriteLine($"{model} {precision} {isa}: {ours:F5}, reference {theirs:F5} ({ours / theirs - 1:P4}), "
                + $"largest difference of a token {LargestDifference(native, reference):F6} nat");
            ours.ShouldBe(theirs, theirs * PerplexityTolerance(precision));
        }
    }

    [Theory]
    [InlineData("docs-opt", "cortex-a72")]
    [InlineData("docs-bloom", "cortex-a72")]
    public void Emulated_arm_has_the_logits_of_the_reference(string model, string cpu)
    {
        var arm = NativeEngine.EmulatedArm(cpu);
        foreach (var precision in Packs.Precisions)
        {
            foreach (var (isa, differences) in NativeLogits.Differences(arm, Packs.Pack(model, precision), model, 12))
            {
                output.WriteLine($"{model} {precision} {cpu} {isa}: mean {differences.Average():E2}, largest {differences.Max():E2}");
                differences.Average().ShouldBeLessThan(1e-6);
            }
        }
    }

    [Theory]
    [InlineData("stories260K", "cortex-a72", "llama.cpp-512")]
    [InlineData("stories260K", "max", "llama.cpp-512")]
    [InlineData("docs-llama", "cortex-a72", "llama.cpp-512")]
    [InlineData("docs-llama", "max", "llama.cpp-128")]
    public void Emulated_arm_agrees_with_this_machine(string model, string cpu, string name)
    {
        var arm = NativeEngine.EmulatedArm(cpu);
        var convention = PerplexityConvention.Parse(name);
        var here = NativeScores.OfEngine(NativeEngine.OfThisMachine(), "host", "auto", model, convention, 2);

        var there = NativeScores.OfEngine(arm, cpu, "auto", model, convention, 2);

        foreach (var precision in Packs.Precisions)
        {
            var largest = LargestDifference(there[precision], here[precision]);
            output.WriteLine($"{model} {precision} on {cpu}: perplexity {convention.Perplexity(there[precision]):F5}, here "
                + $"{convention.Perplexity(here[precision]):F5}, largest difference of a token {largest:F6} nat");
            foreach (var (a, b) in there[precision].Zip(here[precision]))
                Math.Exp(a.Average()).ShouldBe(Math.Exp(b.Average()), Math.Exp(b.Average()) * PerplexityTolerance(precision), precision);
            if (precision is "fp16" or "w8a8") // this CPU multiplies fp16 packs in fp16
                largest.ShouldBeLessThan(precision == "fp16" && cpu == "max" ? 0.25 : 0.02, precision);
        }
    }

    private static double LargestDifference(float[][] a, float[][] b) =>
        a.Zip(b, (x, y) => x.Zip(y, (p, q) => Math.Abs((double)p - q)).Max()).Max();

    private static double PerplexityTolerance(string precision) => precision == "w4a4" ? 0.005 : 0.001;
}
