using System.Text.Json.Nodes;
using Shouldly;

namespace AgileQuant.Engine.Tests.Tokenization;

/// <summary>tokenizer.json files in the forms that LLaMA models come with.</summary>
public sealed class TokenizerJsonTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Byte_fallback_merges_in_the_order_of_the_merges_and_survives_import()
    {
        WriteSentencePiece(_ => { });

        var tokenizer = Tokenizer.Load(_folder.Path);
        // ▁hell before lo: "▁hello" has no merge, so "▁hell" + "o"; é is no piece: its two bytes.
        tokenizer.Encode("hello é").ShouldBe([1, Id("▁hell"), Id("o"), Id("▁"), 3 + 0xC3, 3 + 0xA9]);
        tokenizer.Decode(tokenizer.Encode("hello é")).ShouldBe("hello é");

        new TinyModel { Vocabulary = Pieces.Length + 3 }.WriteTo(_folder.Path);
        ModelImporter.Import(_folder.Path, _folder.File("m.gguf"), cancellation: TestContext.Current.CancellationToken);
        var imported = Tokenizer.Load(_folder.File("m.gguf"));
        imported.Encode("hello é").ShouldBe(tokenizer.Encode("hello é"));
        imported.VocabularySize.ShouldBe(Pieces.Length + 3);
        imported.AddsBos.ShouldBeTrue();
    }

    [Fact]
    public void Merges_may_be_pairs()
    {
        WriteSentencePiece(_ => { });
        var before = Tokenizer.Load(_folder.Path).Encode("hello hello");

        WriteSentencePiece(json => json["model"]!["merges"] = new JsonArray(
            [.. Merges.Select(m => (JsonNode)new JsonArray([.. m.Split(' ').Select(p => (JsonNode)p)]))]));

        Tokenizer.Load(_folder.Path).Encode("hello hello").ShouldBe(before);
    }

    [Theory]
    [InlineData("""{"type":"Unigram","vocab":[]}""", null, "Unigram")]
    [InlineData("""{"type":"BPE","vocab":{"a":0},"merges":[]}""", """{"type":"Whitespace"}""", "Whitespace")]
    [InlineData("""{"type":"BPE","vocab":{"a":0},"merges":["ab"]}""", """{"type":"ByteLevel"}""", "no two parts")]
    [InlineData("""{"type":"BPE","vocab":{"a":-1},"merges":[]}""", """{"type":"ByteLevel"}""", "largest id")]
    [InlineData("""{"type":"BPE","merges":[]}""", """{"type":"ByteLevel"}""", "corrupt")]
    [InlineData("""{"type":"BPE","vocab":{"a":0},"merges":["a b"]}""", """{"type":"ByteLevel"}""", "not in the vocabulary")]
    public void Tokenizers_that_cannot_be_used_are_refused_with_the_reason(string model, string? pre, string said)
    {
        File.WriteAllText(_folder.File("tokenizer.json"), $$"""{"model":{{model}},"pre_tokenizer":{{pre ?? "null"}}}""");

        Should.Throw<ModelFormatException>(() => Tokenizer.Load(_folder.Path)).Message.ShouldContain(said);
    }

    [Fact]
    public void A_model_without_vocabulary_says_so()
    {
        var (path, summary) = new TinyModel().Import(_folder, "bare");

        summary.HasTokenizer.ShouldBeFalse();
        Should.Throw<ModelFormatException>(() => Tokenizer.Load(path)).Message.ShouldContain("no vocabulary");
        Should.Throw<ModelFormatException>(() => Tokenizer.Load(_folder.Path)).Message.ShouldContain("no tokenizer");
    }

    private static readonly string[] Merges = ["h e", "l l", "▁ he", "▁he ll", "l o"];

    private static readonly string[] Pieces =
    [
        "<unk>", "<s>", "</s>", .. Enumerable.Range(0, 256).Select(b => $"<0x{b:X2}>"), "he", "ll", "▁he", "▁hell", "lo",
        "▁", "h", "e", "l", "o",
    ];

    private static int Id(string piece) => Array.IndexOf(Pieces, piece);

    /// <summary>As TinyLlama's: BPE with byte fallback, spaces to U+2581, BOS by template.</summary>
    private void WriteSentencePiece(Action<JsonNode> change)
    {
        var vocabulary = new JsonObject();
        for (var i = 0; i < Pieces.Length; i++)
            vocabulary[Pieces[i]] = i;
        var json = JsonNode.Parse("""
            {"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},
             {"id":2,"content":"</s>","special":true}],
             "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
              {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
             "pre_tokenizer":null,
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]},
             "model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true}}
            """)!;
        json["model"]!["vocab"] = vocabulary;
        json["model"]!["merges"] = new JsonArray([.. Merges.Select(m => (JsonNode)m)]);
        change(json);
        File.WriteAllText(_folder.File("tokenizer.json"), json.ToJsonString());
    }
}
