using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AgileQuant.Engine.Gguf;
using Shouldly;

namespace AgileQuant.Engine.Tests.Tokenization;

/// <summary>Tokenizers in the files that came before tokenizer.json, and beside it.</summary>
public sealed class TokenizerFolderTests : IDisposable
{
    private const string Text = "Gets or sets the value; it's 42 bytes.\n\n  <param name=\"x\">Ünïcode</param>";
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Vocab_json_and_merges_txt_give_the_ids_of_tokenizer_json()
    {
        WriteVocabAndMerges("""{"tokenizer_class":"GPT2Tokenizer","bos_token":{"content":"</s>"},"add_bos_token":true,"unk_token":"<unk>"}""");

        var tokenizer = Tokenizer.Load(_folder.Path);

        var expected = Tokenizer.Load(Path.Combine(TestData.Samples, "docs-opt"));
        tokenizer.Encode(Text).ShouldBe(expected.Encode(Text));
        (tokenizer.BosId, tokenizer.AddsBos, tokenizer.VocabularySize).ShouldBe((2, true, 4096));
        tokenizer.Decode(tokenizer.Encode(Text)).ShouldBe(Text);
    }

    [Fact]
    public void Opt_puts_BOS_in_front_where_only_config_json_tells_what_it_is()
    {
        WriteVocabAndMerges(null);
        File.WriteAllText(_folder.File("config.json"), """{"model_type":"opt","bos_token_id":2}""");
        Tokenizer.Load(_folder.Path).Encode("Gets")[0].ShouldBe(2);

        File.WriteAllText(_folder.File("config.json"), """{"model_type":"gpt2","bos_token_id":2}""");
        Tokenizer.Load(_folder.Path).AddsBos.ShouldBeFalse();
    }

    [Fact]
    public void A_class_with_other_rules_a_missing_and_a_broken_merges_file_are_refused()
    {
        WriteVocabAndMerges("""{"tokenizer_class":"Qwen2Tokenizer"}""");
        Refusal().ShouldContain("Qwen2Tokenizer");

        File.Delete(_folder.File("tokenizer_config.json"));
        File.WriteAllText(_folder.File("merges.txt"), "#version: 0.2\nĠ t\nĠthe\n");
        Refusal().ShouldContain("'Ġthe' has no two parts");

        File.Delete(_folder.File("merges.txt"));
        Refusal().ShouldContain("merges.txt: no such file");
    }

    [Fact]
    public void A_sentencepiece_model_gives_the_published_ids()
    {
        var vectors = TestData.Shared("vocab", "ggml-vocab-llama-spm.gguf");
        using (var file = GgufFile.Open(vectors))
            WriteModel(Pieces(file.Metadata));
        var tokenizer = Tokenizer.Load(_folder.Path);
        var texts = File.ReadAllText(vectors + ".inp", Encoding.UTF8).Split("\n__ggml_vocab_test__\n");
        var expected = File.ReadAllText(vectors + ".out").Split('\n');

        for (var i = 0; i < texts.Length - 1; i++)
            string.Join(' ', tokenizer.Encode(texts[i], addSpecial: false)).ShouldBe(expected[i].Trim(), $"text {i}: {texts[i]}");

        (tokenizer.BosId, tokenizer.AddsBos, tokenizer.VocabularySize).ShouldBe((1, true, 32000));
        tokenizer.Encode("a")[0].ShouldBe(1);
        Tokenizer.Load(_folder.File("tokenizer.model")).Encode(Text).ShouldBe(tokenizer.Encode(Text));
    }

    [Fact]
    public void Added_tokens_and_rows_without_a_token_follow_those_of_the_model()
    {
        WriteModel(Few);
        File.WriteAllText(_folder.File("added_tokens.json"), """{"<pad>":5}""");
        new TinyModel { Vocabulary = 8 }.WriteTo(_folder.Path);

        ModelImporter.Import(_folder.Path, _folder.File("m.gguf"), cancellation: TestContext.Current.CancellationToken).HasTokenizer.ShouldBeTrue();

        using var file = GgufFile.Open(_folder.File("m.gguf"));
        file.Metadata.TryGet<string[]>("tokenizer.ggml.tokens", out var tokens).ShouldBeTrue();
        tokens.ShouldBe(["<unk>", "<s>", "</s>", "▁a", "b", "<pad>", "[PAD6]", "[PAD7]"]);
        new TinyModel { Vocabulary = 5 }.WriteTo(_folder.Path);
        Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.Path)).Message.ShouldContain("largest id is 5");
    }

    [Theory]
    [InlineData(1, 0, "unigram")]
    [InlineData(2, 1, "normalizes")]
    public void Sentencepiece_models_with_other_rules_are_refused(int kind, int collapsesSpaces, string said)
    {
        WriteModel(Few, kind, collapsesSpaces);

        Refusal().ShouldContain(said);
    }

    [Fact]
    public void Damaged_sentencepiece_models_are_refused_and_never_crash()
    {
        WriteModel(Few);
        var whole = File.ReadAllBytes(_folder.File("tokenizer.model"));
        var random = new Random(5);
        var refused = 0;
        for (var i = 0; i < 2000; i++)
        {
            var bytes = whole[..(i % 3 == 0 ? random.Next(whole.Length) : whole.Length)];
            if (bytes.Length > 0)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(_folder.File("tokenizer.model"), bytes);
            try
            {
                Tokenizer.Load(_folder.Path).Encode("ab");
            }
            catch (ModelFormatException)
            {
                refused++;
            }
        }

        refused.ShouldBeGreaterThan(500);
        File.WriteAllText(_folder.File("tokenizer.model"), "IQ== 0\nIg== 1\n");
        Refusal().ShouldContain("not a SentencePiece model");
    }

    [Theory]
    [InlineData(true, new[] { 4 })]
    [InlineData(false, new[] { 3, 2 })]
    [InlineData(null, new[] { 3, 2 })]
    public void Ignore_merges_takes_words_that_are_tokens_as_they_are_also_after_import(bool? ignore, int[] ids)
    {
        var json = JsonNode.Parse("""
            {"model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3,"abc":4},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}}
            """)!;
        if (ignore is not null)
            json["model"]!["ignore_merges"] = ignore;
        File.WriteAllText(_folder.File("tokenizer.json"), json.ToJsonString());
        new TinyModel { Vocabulary = 5 }.WriteTo(_folder.Path);
        ModelImporter.Import(_folder.Path, _folder.File("m.gguf"), cancellation: TestContext.Current.CancellationToken);

        Tokenizer.Load(_folder.Path).Encode("abc").ShouldBe(ids);
        Tokenizer.Load(_folder.File("m.gguf")).Encode("abc").ShouldBe(ids);
    }

    private static readonly (string Text, float Score, int Kind)[] Few =
        [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ("▁a", -1, 1), ("b", -2, 1)];

    private string Refusal() => Should.Throw<ModelFormatException>(() => Tokenizer.Load(_folder.Path)).Message;

    /// <summary>The tokenizer of the OPT sample model in the form that OPT's own come in.</summary>
    private void WriteVocabAndMerges(string? config)
    {
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Samples, "docs-opt", "tokenizer.json")));
        var model = json.RootElement.GetProperty("model");
        File.WriteAllText(_folder.File("vocab.json"), model.GetProperty("vocab").GetRawText());
        var merges = model.GetProperty("merges").EnumerateArray()
            .Select(m => m.ValueKind == JsonValueKind.String ? m.GetString() : $"{m[0].GetString()} {m[1].GetString()}");
        File.WriteAllLines(_folder.File("merges.txt"), ["#version: 0.2", .. merges!]);
        if (config is not null)
            File.WriteAllText(_folder.File("tokenizer_config.json"), config);
    }

    private static (string Text, float Score, int Kind)[] Pieces(GgufMetadata keys)
    {
        keys.TryGet<string[]>("tokenizer.ggml.tokens", out var tokens).ShouldBeTrue();
        keys.TryGet<float[]>("tokenizer.ggml.scores", out var scores).ShouldBeTrue();
        keys.TryGet<int[]>("tokenizer.ggml.token_type", out var kinds).ShouldBeTrue();
        return [.. tokens!.Select((t, i) => (t, scores![i], kinds![i]))];
    }

    /// <summary>A SentencePiece ModelProto: pieces (1), trainer (2) with model type (3), normalizer (3) with the spaces (4).</summary>
    private void WriteModel((string Text, float Score, int Kind)[] pieces, int kind = 2, int collapsesSpaces = 0)
    {
        var message = new List<byte>();
        foreach (var piece in pieces)
        {
            byte[] text = Encoding.UTF8.GetBytes(piece.Text);
            Message(message, 1, [0x0A, (byte)text.Length, .. text, 0x15, .. BitConverter.GetBytes(piece.Score), 0x18, (byte)piece.Kind]);
        }

        Message(message, 2, [0x18, (byte)kind, 0x98, 0x02, 1]); // field 35: byte fallback
        Message(message, 3, [0x18, 1, 0x20, (byte)collapsesSpaces]);
        File.WriteAllBytes(_folder.File("tokenizer.model"), [.. message]);
    }

    private static void Message(List<byte> target, int field, byte[] content)
    {
        target.Add((byte)((field << 3) | 2));
        for (var left = content.Length; ; left >>= 7)
        {
            target.Add((byte)(left > 127 ? (left & 127) | 128 : left));
            if (left <= 127)
                break;
        }

        target.AddRange(content);
    }
}
