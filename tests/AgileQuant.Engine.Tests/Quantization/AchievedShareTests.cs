using AgileQuant.Engine.Tests.Native;
using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

/// <summary>Thresholds calibrated on training text, at work in the native engine on held-out text.</summary>
public sealed class AchievedShareTests(ITestOutputHelper output)
{
    private const int Context = 512;
    private const int Windows = 190; // nearly all of the text: single ones vary from 3% to 35%

    [Theory]
    [InlineData("docs-llama")]
    [InlineData("docs-opt")]
    [InlineData("docs-bloom")]
    public void About_the_asked_share_leaves_whether_or_not_windows_begin_with_bos(string model)
    {
        const string precision = "w8a8+prune0.2";
        var engine = NativeEngine.OfThisMachine();
        using var folder = new TemporaryFolder();
        var held = Packs.Tokens(model);
        var tokenizer = Tokenizer.Load(Packs.Canonical(model));
        var sample = CalibrationSample.Build(Path.Combine(TestData.Samples, "heldout.hashes"));
        var training = new TokenData(tokenizer.Encode(sample.Text), tokenizer.VocabularySize, tokenizer.BosId, tokenizer.AddsBos);
        var recipe = PackRecipe.For(Precision.Parse(precision), calibration: CalibrationText.For(training, Context));
        Packer.Pack(Packs.Canonical(model), recipe, folder.File("pruned.gguf"), training, cancellation: TestContext.Current.CancellationToken);

        // As gptq-512 cuts the text, and each window with BOS in its first place, as llama.cpp-512 puts it; all positions of both.
        var ids = held.Ids.Skip(1).Take(Windows * Context).ToArray();
        var plain = Left(ids);
        var withBos = held.AddsBos ? Left([.. ids.Select((id, i) => i % Context == 0 ? held.BosId : id)]) : plain;

        output.WriteLine($"{model}: of 20% asked for {plain:P1} left without BOS, {withBos:P1} with it");
        plain.ShouldBe(0.2, 0.04);
        withBos.ShouldBe(0.2, 0.04);

        double Left(int[] window)
        {
            TokenFile.Write(folder.File("text.aqtk"), window, held.VocabularySize, held.BosId, held.AddsBos);
            var survivors = NativeScores.Survivors(
                engine, precision, folder.File("pruned.gguf"), folder.File("text.aqtk"), new PerplexityConvention("gptq", Context), Windows);
            return survivors.Count(s => s == 0) / (double)survivors.Length;
        }
    }
}
