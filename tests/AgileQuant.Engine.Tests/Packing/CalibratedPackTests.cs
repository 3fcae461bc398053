using System.Text.Json;
using AgileQuant.Engine.Gguf;
using Shouldly;

namespace AgileQuant.Engine.Tests.Packing;

/// <summary>Packs that a calibration text had a say in, on a model of a few thousand weights.</summary>
public sealed class CalibratedPackTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("w8a8+gptq+trip-static")]
    [InlineData("w4a8+gptq+low0.5")]
    [InlineData("w4a8+gptq+asym+prune0.4")]
    [InlineData("w4a4+gptq+trip+mixed+prune-paper0.3+kv8")]
    public void The_same_text_gives_the_same_bytes_and_the_reference_reads_them(string precision)
    {
        var (path, _) = new TinyModel { Layers = 4 }.Import(_folder, "tiny");
        var (text, recipe) = Recipe(precision);

        var first = Packer.Pack(path, recipe, _folder.File("a.gguf"), text, cancellation: TestContext.Current.CancellationToken);
        var second = Packer.Pack(path, recipe, _folder.File("b.gguf"), text, cancellation: TestContext.Current.CancellationToken);

        second.Sha256.ShouldBe(first.Sha256);
        Directory.GetFiles(_folder.Path, "*.tmp").ShouldBeEmpty();
        var logits = ReferenceModel.Load(_folder.File("a.gguf")).Logits([.. text.Ids.Take(24)]);
        logits.ShouldAllBe(row => row.All(float.IsFinite));
        using var pack = GgufFile.Open(_folder.File("a.gguf"));
        pack.Metadata.Integer("agilequant.format").ShouldBe(2);
        using var written = JsonDocument.Parse(pack.Metadata.Text("agilequant.recipe")!);
        written.RootElement.GetProperty("precision").GetString().ShouldBe(precision);
        written.RootElement.GetProperty("calibration").GetProperty("windows").GetInt32().ShouldBe(recipe.Calibration!.Windows);
    }

    [Fact]
    public void Gptq_is_nearer_to_the_model_than_rounding()
    {
        var (path, _) = new TinyModel { Layers = 2 }.Import(_folder, "tiny");
        var (text, recipe) = Recipe("w4a8+gptq");

        Packer.Pack(path, PackRecipe.For(Precision.Fp16), _folder.File("fp16.gguf"), cancellation: TestContext.Current.CancellationToken);
        Packer.Pack(path, PackRecipe.For(Precision.W4A8), _folder.File("rtn.gguf"), cancellation: TestContext.Current.CancellationToken);
        Packer.Pack(path, recipe, _folder.File("gptq.gguf"), text, cancellation: TestContext.Current.CancellationToken);

        Distance("gptq.gguf").ShouldBeLessThan(Distance("rtn.gguf") * 0.9);

        double Distance(string name)
        {
            var ids = text.Ids.Skip(100).Take(60).ToArray();
            var (wanted, found) = (ReferenceModel.Load(_folder.File("fp16.gguf")).Logits(ids), ReferenceModel.Load(_folder.File(name)).Logits(ids));
            return wanted.Zip(found, (a, b) => a.Zip(b, (x, y) => Math.Pow(x - y, 2)).Sum()).Sum();
        }
    }

    [Fact]
    public void Thresholds_single_out_about_the_wanted_share()
    {
        var (path, _) = new TinyModel { Layers = 4 }.Import(_folder, "tiny");
        var (text, recipe) = Recipe("w8a8+low0.5+prune0.36");

        var explanation = QuantizationExplanation.Of(path, recipe, text, recipe.Calibration!, cancellation: TestContext.Current.CancellationToken);

        explanation.Layers[^1].RowShare.ShouldBe(0.64, 0.02);
        explanation.Layers.Average(l => l.LowShare).ShouldBe(0.5, 0.04);
        explanation.Searches.Select(s => s.What).ShouldBe(["prune", "low"]);
        foreach (var search in explanation.Searches)
            search.Options.Single(o => o.Chosen).Loss.ShouldBe(search.Options.Min(o => o.Loss));
        explanation.Linears.Count.ShouldBe(4 * 7);
        explanation.Linears.ShouldAllBe(l => l.RelativeError >= 0 && l.RelativeError < 1 && l.Bytes > 0);
        explanation.Perplexity.ShouldBeGreaterThan(1);
    }

    [Theory]
    [InlineData("w8a8+prune0.36", "agilequant.prune.thresholds")]
    [InlineData("w8a8+prune-paper0.36", "agilequant.prune.keep")]
    public void The_layers_that_were_chosen_to_prune_are_in_the_pack_and_its_recipe(string precision, string key)
    {
        var (path, _) = new TinyModel { Layers = 4 }.Import(_folder, "tiny");
        var (text, recipe) = Recipe(precision);

        var result = Packer.Pack(path, recipe, _folder.File("a.gguf"), text, cancellation: TestContext.Current.CancellationToken);

        using var pack = GgufFile.Open(_folder.File("a.gguf"));
        pack.Metadata.TryGet<float[]>(key, out var values).ShouldBeTrue();
        using var written = JsonDocument.Parse(pack.Metadata.Text("agilequant.recipe")!);
        var keep = written.RootElement.GetProperty("chosen").GetProperty("prune_keep").EnumerateArray().Select(k => k.GetSingle()).ToArray();
        keep.Aggregate((a, b) => a * b).ShouldBe(0.64f, 1e-4f);
        values.Select(v => key.EndsWith("keep", StringComparison.Ordinal) ? v < 1 : v > 0).ShouldBe(keep.Select(k => k < 1));
        result.Explanation!.Searches.Single().Options.Single(o => o.Chosen).Layers.ShouldStartWith($"{Array.FindIndex(keep, k => k < 1)}-");
    }

    [Fact]
    public void Mixed_keeps_inputs_within_its_budget()
    {
        var (path, _) = new TinyModel { Layers = 4 }.Import(_folder, "tiny");
        var (text, recipe) = Recipe("w4a4+mixed");

        Packer.Pack(path, recipe, _folder.File("a.gguf"), text, cancellation: TestContext.Current.CancellationToken);

        using var pack = GgufFile.Open(_folder.File("a.gguf"));
        pack.Metadata.TryGet<uint[]>("agilequant.activation_limits", out var limits).ShouldBeTrue();
        limits.Length.ShouldBe(16);
        limits.ShouldAllBe(l => l == 7 || l == 127);
        double[] costs = [32 * 64, 32 * 32, 32 * 104, 52 * 32];
        var kept = limits.Select((l, i) => l == 127 ? costs[i % 4] : 0).Sum();
        kept.ShouldBeInRange(1, 0.15 * 4 * costs.Sum());
        using var recipeInPack = JsonDocument.Parse(pack.Metadata.Text("agilequant.recipe")!);
        recipeInPack.RootElement.GetProperty("chosen").GetProperty("eight_bit_inputs").GetArrayLength().ShouldBe(limits.Count(l => l == 127));
    }

    [Fact]
    public void A_text_for_another_vocabulary_is_refused()
    {
        var (path, _) = new TinyModel().Import(_folder, "tiny");
        var (text, _) = Recipe("w4a8+gptq");
        var other = text with { VocabularySize = 50 };
        var recipe = PackRecipe.For(Precision.Parse("w4a8+gptq"), 32, CalibrationText.For(other, 64, 4));

        Should.Throw<CalibrationException>(() => Packer.Pack(path, recipe, _folder.File("a.gguf"), other)).Message.ShouldContain("tokenize it for this model");
        Directory.GetFiles(_folder.Path, "*.tmp").ShouldBeEmpty();
    }

    private static (TokenData Text, PackRecipe Recipe) Recipe(string precision)
    {
        var random = new Random(11);
        var text = new TokenData([.. Enumerable.Range(0, 4200).Select(_ => random.Next(40))], 40, 1, true);
        return (text, PackRecipe.For(Precision.Parse(precision), 32, CalibrationText.For(text, 64, 16)));
    }
}
