using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Shouldly;

namespace AgileQuant.Engine.Tests.Tokenization;

public sealed class TokenizerTests
{
    [Theory]
    [InlineData("ggml-vocab-llama-spm.gguf")]
    [InlineData("ggml-vocab-gpt-2.gguf")]
    public void Published_vectors_give_the_published_ids(string file)
    {
        var path = TestData.Shared("vocab", file);
        var tokenizer = Tokenizer.Load(path);
        var texts = File.ReadAllText(path + ".inp", Encoding.UTF8).Split("\n__ggml_vocab_test__\n");
        var expected = File.ReadAllText(path + ".out").Split('\n');

        var checkedTexts = 0;
        for (var i = 0; i < texts.Length - 1 || (i < texts.Length && texts[i].Length > 0); i++, checkedTexts++)
            string.Join(' ', tokenizer.Encode(texts[i], addSpecial: false)).ShouldBe(expected[i].Trim(), $"text {i}: {texts[i]}");

        checkedTexts.ShouldBeGreaterThan(40);
    }

    [Theory]
    [InlineData("ggml-vocab-llama-spm.gguf")]
    [InlineData("ggml-vocab-gpt-2.gguf")]
    public void Decoding_gives_the_text_back(string file)
    {
        var path = TestData.Shared("vocab", file);
        var tokenizer = Tokenizer.Load(path);

        foreach (var text in File.ReadAllText(path + ".inp", Encoding.UTF8).Split("\n__ggml_vocab_test__\n"))
            tokenizer.Decode(tokenizer.Encode(text)).ShouldBe(text);
    }

    [Fact]
    public void The_tinystories_text_gives_the_ids_llama_cpp_gave()
    {
        var tokenizer = Tokenizer.Load(TestData.Shared("stories260K", "stories260K-f16.gguf"));
        var expected = MemoryMarshal.Cast<byte, int>(File.ReadAllBytes(TestData.Shared("stories260K", "tinystories-sample.ids.i32")));

        var ids = tokenizer.Encode(File.ReadAllText(TestData.Shared("text", "tinystories-sample.txt"), Encoding.UTF8));

        ids.Length.ShouldBe(expected.Length);
        ids.AsSpan().CommonPrefixLength(expected).ShouldBe(expected.Length);
        tokenizer.AddsBos.ShouldBeTrue();
        tokenizer.BosId.ShouldBe(1);
    }

    [Theory]
    [InlineData("docs-llama")]
    [InlineData("docs-opt")]
    [InlineData("docs-bloom")]
    public void The_held_out_text_gives_the_ids_the_sample_models_were_scored_on(string sample)
    {
        var text = SampleText.HeldOut();
        using var training = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Samples, sample, "training.json")));

        var ids = Tokenizer.Load(Path.Combine(TestData.Samples, sample)).Encode(text);

        ids.Length.ShouldBe(training.RootElement.GetProperty("tokens").GetInt32());
        TestData.Sha256(MemoryMarshal.AsBytes(ids.AsSpan()).ToArray()).ShouldBe(training.RootElement.GetProperty("ids_sha256").GetString());
    }

    [Theory]
    [InlineData("docs-bloom", false, -1)]
    [InlineData("docs-opt", true, 2)]
    [InlineData("docs-llama", true, 1)]
    public void Special_tokens_follow_the_post_processor(string sample, bool addsBos, int first)
    {
        var tokenizer = Tokenizer.Load(Path.Combine(TestData.Samples, sample));

        tokenizer.AddsBos.ShouldBe(addsBos);
        tokenizer.VocabularySize.ShouldBe(4096);
        if (addsBos)
            tokenizer.Encode("Gets").First().ShouldBe(first);
        tokenizer.Encode("Gets", addSpecial: false).ShouldNotContain(tokenizer.BosId);
    }
}
