using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Samples;
using Shouldly;

namespace AgileQuant.Engine.Tests.Samples;

public sealed class RandomModelTests : IDisposable
{
    private static readonly RandomModelShape Small = new("small", 64, 2, 4, 2, 96, 300, 64);
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_same_seed_gives_the_same_file_and_another_seed_another()
    {
        var first = Write("a.gguf", Small, 1);

        Write("b.gguf", Small, 1).Sha256.ShouldBe(first.Sha256);
        Write("c.gguf", Small, 2).Sha256.ShouldNotBe(first.Sha256);
        TestData.Sha256(File.ReadAllBytes(_folder.File("a.gguf"))).ShouldBe(first.Sha256);
    }

    [Fact]
    public void The_file_says_that_its_weights_are_random_and_so_does_every_pack()
    {
        Write("a.gguf", Small, 1).RandomWeights.ShouldBeTrue();

        ModelImporter.Inspect(_folder.File("a.gguf")).RandomWeights.ShouldBeTrue();
        Packer.Pack(_folder.File("a.gguf"), PackRecipe.For(Precision.W4A8), _folder.File("p.gguf"), cancellation: TestContext.Current.CancellationToken);
        using var pack = GgufFile.Open(_folder.File("p.gguf"));
        pack.Metadata.Flag("agilequant.random_weights").ShouldBe(true);
    }

    [Theory]
    [InlineData(Architecture.Llama, false)]
    [InlineData(Architecture.Opt, true)]
    [InlineData(Architecture.Bloom, true)]
    public void Its_size_is_known_before_it_is_made(Architecture architecture, bool tied)
    {
        var shape = new RandomModelShape("sized", 64, 2, 4, 4, 96, 301, 64, tied, architecture);
        var made = Write("a.gguf", shape, 1);

        RandomModel.Measure(shape).ShouldBe((made.Parameters, made.Bytes));
        new FileInfo(_folder.File("a.gguf")).Length.ShouldBe(made.Bytes);
    }

    [Fact]
    public void It_is_canonical_already()
    {
        var made = Write("a.gguf", Small, 1);

        var imported = ModelImporter.Import(_folder.File("a.gguf"), _folder.File("b.gguf"), cancellation: TestContext.Current.CancellationToken);

        imported.ShouldBe(made);
    }

    [Fact]
    public void Any_text_can_be_encoded()
    {
        Write("a.gguf", Small, 1);
        var tokenizer = Tokenizer.Load(_folder.File("a.gguf"));

        var ids = tokenizer.Encode("aé\n");

        ids.Length.ShouldBe(1 + 4);
        ids[0].ShouldBe(tokenizer.BosId);
        tokenizer.Decode(ids).ShouldBe("aé\n");
    }

    [Theory]
    [InlineData("fp16")]
    [InlineData("w8a8")]
    [InlineData("w4a4")]
    public void Logits_are_finite_in_every_precision(string precision)
    {
        Write("a.gguf", Small with { TiedOutput = true, Layers = 4 }, 1);
        Packer.Pack(_folder.File("a.gguf"), PackRecipe.For(Precision.Parse(precision)), _folder.File("p.gguf"), cancellation: TestContext.Current.CancellationToken);

        var logits = ReferenceModel.Load(_folder.File("p.gguf")).Logits([.. Enumerable.Range(0, 60)]);

        logits.SelectMany(l => l).ShouldAllBe(x => float.IsFinite(x));
        logits[^1].Distinct().Count().ShouldBeGreaterThan(100);
    }

    [Fact]
    public void Weights_have_the_wanted_mean_and_deviation_wherever_a_thread_starts()
    {
        var values = new Half[100_000];
        new CounterRandom(5, 3).Fill(0, 0.02f, values);
        var tail = new Half[1000];
        new CounterRandom(5, 3).Fill(99_000, 0.02f, tail);

        var numbers = Array.ConvertAll(values, v => (double)v);
        numbers.Average().ShouldBe(0, 0.0005);
        Math.Sqrt(numbers.Average(v => v * v)).ShouldBe(0.02, 0.0003);
        tail.ShouldBe(values[99_000..]);
        numbers.Distinct().Count().ShouldBeGreaterThan(1000);
    }

    [Fact]
    public void The_demo_shape_has_about_150_million_parameters()
    {
        var s = RandomModelShape.Demo150M;
        var perLayer = s.Dimension * (2L * s.Dimension + 2L * (s.Dimension / s.Heads * s.KvHeads) + 3L * s.FeedForward + 2);
        (s.Layers * perLayer + (2L * s.VocabularySize + 1) * s.Dimension).ShouldBe(149_840_640);
    }

    [Theory]
    [InlineData("tinyllama-1.1b", 1_100_048_384)]
    [InlineData("opt-125m", 125_237_760)]
    [InlineData("bloom-560m", 559_214_592)]
    public void Presets_have_the_parameters_of_the_models_they_are_named_after(string preset, long parameters)
    {
        var shape = RandomModelShape.Presets[preset].ToModel();
        shape.Tensors().Sum(t => t.Dimensions.Aggregate(1L, (a, b) => a * b)).ShouldBe(parameters);
    }

    [Theory]
    [InlineData(Architecture.Opt)]
    [InlineData(Architecture.Bloom)]
    public void Other_architectures_are_canonical_and_can_encode_too(Architecture architecture)
    {
        var made = Write("a.gguf", Small with { Architecture = architecture, KvHeads = 4, TiedOutput = true }, 1);

        ModelImporter.Import(_folder.File("a.gguf"), _folder.File("b.gguf"), cancellation: TestContext.Current.CancellationToken).ShouldBe(made);
        made.Architecture.ShouldBe(architecture.ToString().ToLowerInvariant());
        Tokenizer.Load(_folder.File("b.gguf")).Encode("aé\n").Length.ShouldBe(5);
    }

    [Fact]
    public void Shapes_that_cannot_be_are_refused()
    {
        Should.Throw<ArgumentException>(() => Write("a.gguf", Small with { Heads = 5 }, 1)).Message.ShouldContain("5 attention heads");
        Should.Throw<ArgumentException>(() => Write("a.gguf", Small with { VocabularySize = 100 }, 1)).Message.ShouldContain("260");
    }

    private ModelSummary Write(string name, RandomModelShape shape, int seed) =>
        RandomModel.Write(_folder.File(name), shape, seed, cancellation: TestContext.Current.CancellationToken);
}
