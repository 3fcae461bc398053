using AgileQuant.Engine.Gguf;
using Shouldly;

namespace AgileQuant.Engine.Tests.Import;

public sealed class ModelImporterTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_folder_and_the_gguf_made_from_it_are_the_same_model()
    {
        var (path, imported) = new TinyModel().Import(_folder, "tiny");

        var again = ModelImporter.Import(path, _folder.File("again.gguf"), cancellation: TestContext.Current.CancellationToken);

        again.Sha256.ShouldBe(imported.Sha256);
        File.ReadAllBytes(_folder.File("again.gguf")).ShouldBe(File.ReadAllBytes(path));
        TestData.Sha256(File.ReadAllBytes(path)).ShouldBe(imported.Sha256);
        Logits(_folder.File("again.gguf")).ShouldBe(Logits(path));
    }

    [Fact]
    public void Shards_prefixes_and_the_place_of_the_folder_do_not_matter()
    {
        var (_, plain) = new TinyModel().Import(_folder, "plain");
        var (_, sharded) = new TinyModel { Shards = 3 }.Import(_folder, "sharded");
        var (_, bare) = new TinyModel { Prefix = false }.Import(_folder, "bare");

        sharded.Sha256.ShouldBe(plain.Sha256);
        bare.Sha256.ShouldBe(plain.Sha256);
        plain.Name.ShouldBe("plain");
    }

    [Theory]
    [InlineData("F32")]
    [InlineData("BF16")]
    public void Weights_of_every_width_give_the_same_logits(string type)
    {
        var (halves, _) = new TinyModel().Import(_folder, "f16");
        var (others, _) = new TinyModel { Type = type }.Import(_folder, "other");

        using (var file = GgufFile.Open(others))
        {
            file.Tensor("blk.0.attn_q.weight").Type.ToString().ShouldBe(type);
            file.Tensor("blk.0.attn_norm.weight").Type.ShouldBe(TensorType.F32);
        }

        Logits(others).ShouldBe(Logits(halves));
    }

    [Fact]
    public void Aliases_of_configuration_keys_are_understood()
    {
        var (_, plain) = new TinyModel().Import(_folder, "plain");
        var (_, aliased) = new TinyModel
        {
            Config = new()
            {
                ["hidden_size"] = null,
                ["n_embd"] = 32,
                ["num_hidden_layers"] = null,
                ["n_layer"] = 2,
                ["num_attention_heads"] = null,
                ["n_head"] = 4,
                ["max_position_embeddings"] = null,
                ["n_positions"] = 64,
            },
        }.Import(_folder, "aliased");

        aliased.Sha256.ShouldBe(plain.Sha256);
    }

    [Fact]
    public void A_tied_model_has_no_output_tensor()
    {
        var (path, summary) = new TinyModel { Tied = true }.Import(_folder, "tied");

        using var file = GgufFile.Open(path);
        file.Contains("output.weight").ShouldBeFalse();
        summary.TiedOutput.ShouldBeTrue();
        summary.Parameters.ShouldBe(file.Tensors.Sum(t => t.Elements));
    }

    [Theory]
    [InlineData("docs-opt", "opt", 4_339_712)]
    [InlineData("docs-bloom", "bloom", 4_208_640)]
    public void The_summary_names_the_architecture(string sample, string architecture, long parameters)
    {
        var summary = ModelImporter.Inspect(Path.Combine(TestData.Samples, sample));

        summary.Architecture.ShouldBe(architecture);
        // PyTorch counts OPT's two unused rows of positions.
        summary.Parameters.ShouldBe(parameters - (architecture == "opt" ? 2 * 256 : 0));
        (summary.Layers, summary.Dimension, summary.FeedForward, summary.Heads, summary.KvHeads).ShouldBe((4, 256, 1024, 4, 4));
        (summary.ContextLength, summary.VocabularySize, summary.TiedOutput, summary.HasTokenizer).ShouldBe((512, 4096, true, true));
    }

    [Fact]
    public void The_summary_says_what_the_sample_model_is()
    {
        var summary = ModelImporter.Inspect(TestData.DocsLlama);

        summary.Parameters.ShouldBe(5_245_184);
        (summary.Layers, summary.Dimension, summary.FeedForward, summary.Heads, summary.KvHeads).ShouldBe((4, 256, 768, 4, 2));
        (summary.ContextLength, summary.VocabularySize, summary.TiedOutput, summary.HasTokenizer).ShouldBe((512, 4096, false, true));
        summary.Sha256.ShouldBeEmpty();
        ModelImporter.Inspect(Packs.DocsLlama()).Sha256.ShouldBe(TestData.Sha256(File.ReadAllBytes(Packs.DocsLlama())));
    }

    [Fact]
    public void Llama_cpp_finds_the_vocabulary_it_expects()
    {
        using var file = GgufFile.Open(Packs.DocsLlama());

        file.Metadata.Text("tokenizer.ggml.model").ShouldBe("gpt2");
        file.Metadata.Text("tokenizer.ggml.pre").ShouldBe("gpt-2");
        file.Metadata.Flag("tokenizer.ggml.add_bos_token").ShouldBe(true);
        file.Metadata.Integer("tokenizer.ggml.bos_token_id").ShouldBe(1);
        file.Metadata.TryGet<string[]>("tokenizer.ggml.merges", out var merges).ShouldBeTrue();
        merges!.Length.ShouldBe(4096 - 260);
        Tokenizer.Load(Packs.DocsLlama()).Encode("Gets the value.").ShouldBe(Tokenizer.Load(TestData.DocsLlama).Encode("Gets the value."));
    }

    [Fact]
    public void Quantized_gguf_tensors_are_widened()
    {
        var (path, _) = new TinyModel { Dimension = 32, FeedForward = 64 }.Import(_folder, "plain");
        using (var file = GgufFile.Open(path))
        {
            var keys = new GgufMetadata();
            foreach (var (key, value) in file.Metadata)
                keys.Add(key, value);
            var tensors = file.Tensors.Select(t => t.Dimensions.Count == 2 ? t with { Type = TensorType.Q80 } : t).ToList();
            using var writer = new GgufWriter(_folder.File("q8.gguf"), keys, tensors);
            foreach (var tensor in tensors)
                writer.Write(tensor.Type == TensorType.Q80 ? Q8Blocks(tensor.Elements / 32) : file.ReadBytes(file.Tensor(tensor.Name)));
            writer.Complete();
        }

        ModelImporter.Import(_folder.File("q8.gguf"), _folder.File("wide.gguf"), cancellation: TestContext.Current.CancellationToken);

        using var wide = GgufFile.Open(_folder.File("wide.gguf"));
        var query = wide.Tensor("blk.0.attn_q.weight");
        query.Type.ShouldBe(TensorType.F16);
        wide.ReadFloats(query).Take(33).ShouldBe([.. Enumerable.Range(0, 32).Select(i => (i - 16) * 0.5f), -8f]);
    }

    [Theory]
    [InlineData("linear", 4f, 4f)]
    [InlineData("llama3", 1f, 8f)]
    public void Rotary_scaling_becomes_frequency_factors(string kind, float first, float last)
    {
        var scaling = new Dictionary<string, object>
        {
            ["rope_type"] = kind,
            ["factor"] = kind == "linear" ? 4 : 8,
            ["low_freq_factor"] = 1,
            ["high_freq_factor"] = 4,
            ["original_max_position_embeddings"] = 64,
        };
        var (path, _) = new TinyModel { Dimension = 64, Heads = 2, Config = new() { ["rope_scaling"] = scaling } }.Import(_folder, "scaled");

        using var file = GgufFile.Open(path);
        var factors = file.ReadFloats(file.Tensor("rope_freqs.weight"));
        factors.Length.ShouldBe(16);
        factors[0].ShouldBe(first);
        factors[^1].ShouldBe(last);
        factors.ShouldBe(factors.Order());
    }

    [Theory]
    [InlineData("model_type", "mistral", "'mistral'")]
    [InlineData("num_local_experts", 8, "mixture-of-experts")]
    [InlineData("sliding_window", 4096, "sliding-window")]
    [InlineData("partial_rotary_factor", 0.5, "partial_rotary_factor")]
    public void Other_architectures_and_variants_are_refused_by_name(string key, object value, string said)
    {
        new TinyModel { Config = new() { [key] = value } }.WriteTo(_folder.File("other"));

        Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File("other"))).Message.ShouldContain(said);
    }

    [Fact]
    public void A_refused_architecture_is_told_what_is_supported()
    {
        new TinyModel { Config = new() { ["model_type"] = "gpt2" } }.WriteTo(_folder.File("other"));

        var refusal = Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File("other"))).Message;

        foreach (var name in (string[])["gpt2", "LLaMA", "OPT", "BLOOM"])
            refusal.ShouldContain(name);
    }

    [Theory]
    [InlineData("attention_bias", true, "attention_bias")]
    [InlineData("hidden_act", "gelu", "gelu")]
    [InlineData("head_dim", 16, "head_dim")]
    [InlineData("num_key_value_heads", 3, "key-value heads")]
    [InlineData("hidden_size", null, "hidden_size")]
    [InlineData("tie_word_embeddings", false, "lm_head")]
    [InlineData("intermediate_size", 51, "was expected")]
    public void What_the_architecture_cannot_be_is_said(string key, object? value, string said)
    {
        new TinyModel { Tied = key == "tie_word_embeddings", Config = new() { [key] = value } }.WriteTo(_folder.File("bad"));

        Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File("bad"))).Message.ShouldContain(said);
    }

    [Fact]
    public void A_missing_shard_a_missing_tensor_and_a_strange_type_are_said()
    {
        new TinyModel { Shards = 2 }.WriteTo(_folder.File("shard"));
        File.Delete(_folder.File("shard/model-00002-of-00002.safetensors"));
        new TinyModel { Type = "I64" }.WriteTo(_folder.File("type"));
        new TinyModel { Layers = 1, Config = new() { ["num_hidden_layers"] = 2 } }.WriteTo(_folder.File("layer"));

        Said("shard").ShouldContain("model-00002-of-00002.safetensors");
        Said("type").ShouldContain("I64");
        Said("layer").ShouldContain("layers.1.input_layernorm.weight is missing");
        Said("nowhere").ShouldContain("no such file or folder");

        string Said(string name) => Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File(name))).Message;
    }

    [Fact]
    public void A_cancelled_import_leaves_nothing_behind()
    {
        new TinyModel().WriteTo(_folder.File("tiny"));

        Should.Throw<OperationCanceledException>(() => ModelImporter.Import(
            _folder.File("tiny"), _folder.File("out.gguf"), cancellation: new CancellationToken(canceled: true)));

        Directory.GetFiles(_folder.Path).ShouldBeEmpty();
    }

    [Fact]
    public void Progress_rises_to_one()
    {
        new TinyModel().WriteTo(_folder.File("tiny"));
        var seen = new Recorder();

        ModelImporter.Import(_folder.File("tiny"), _folder.File("out.gguf"), seen, TestContext.Current.CancellationToken);

        seen.Values.Select(v => v.Share).ShouldBe(seen.Values.Select(v => v.Share).Order());
        seen.Values[^1].Share.ShouldBe(1);
        using var made = GgufFile.Open(_folder.File("out.gguf"));
        seen.Values.DistinctBy(v => v.Number).Select(v => v.Tensor).ShouldBe(made.Tensors.Select(t => t.Name), "each tensor is named, in the file's order");
        seen.Values.ShouldAllBe(v => v.Count == made.Tensors.Count && v.Number >= 1 && v.Number <= v.Count);
    }

    [Fact]
    public void A_tokenizer_larger_than_the_model_is_refused()
    {
        new TinyModel().WriteTo(_folder.File("tiny"));
        File.Copy(Path.Combine(TestData.DocsLlama, "tokenizer.json"), _folder.File("tiny/tokenizer.json"));

        Should.Throw<ModelFormatException>(() => ModelImporter.Inspect(_folder.File("tiny"))).Message.ShouldContain("largest id");
    }

    private float[][] Logits(string canonical)
    {
        var pack = _folder.File($"{Guid.NewGuid():N}.gguf");
        Packer.Pack(canonical, PackRecipe.For(Precision.Fp16), pack, cancellation: TestContext.Current.CancellationToken);
        return ReferenceModel.Load(pack).Logits([1, 5, 9, 2, 17]);
    }

    private static byte[] Q8Blocks(long count)
    {
        var bytes = new byte[count * 34];
        for (var b = 0; b < count; b++)
        {
            BitConverter.GetBytes((Half)0.5f).CopyTo(bytes, b * 34);
            for (var i = 0; i < 32; i++)
                bytes[b * 34 + 2 + i] = (byte)(sbyte)(i - 16);
        }

        return bytes;
    }

    private sealed class Recorder : IProgress<ModelProgress>
    {
        public List<ModelProgress> Values { get; } = [];

        public void Report(ModelProgress value) => Values.Add(value);
    }
}
