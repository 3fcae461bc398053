using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using Shouldly;

namespace AgileQuant.Engine.Tests.Import;

/// <summary>What Hugging Face's folders of each architecture have of their own.</summary>
public sealed class FolderFormatTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Rows_of_q_and_k_change_from_halves_to_neighbours()
    {
        // Hugging Face pairs rows i and i + d/2 of a head; llama.cpp 2i and 2i + 1.
        var format = Format("""{"model_type":"llama","hidden_size":16,"num_attention_heads":2,"intermediate_size":8,"num_hidden_layers":1,"vocab_size":9}""");

        Rows(format, "blk.0.attn_q.weight", 16).ShouldBe([0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
        format.Permutes("blk.0.attn_k.weight").ShouldBeTrue();
        format.Permutes("blk.0.attn_v.weight").ShouldBeFalse();
    }

    [Fact]
    public void Blooms_fused_rows_are_taken_apart_into_q_k_and_v()
    {
        // Theirs: [2 heads][q, k, v][2]; ours: q of both heads, then k, then v.
        var format = Format("""{"model_type":"bloom","hidden_size":4,"n_head":2,"n_layer":1,"vocab_size":9}""");

        Rows(format, "blk.0.attn_qkv.weight", 12).ShouldBe([0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
        format.Permutes("blk.0.attn_qkv.bias").ShouldBeTrue();
        format.Shape.FeedForward.ShouldBe(16);
    }

    [Fact]
    public void Opt_350M_has_norms_behind_and_a_narrower_embedding()
    {
        var shape = Format("""
            {"model_type":"opt","hidden_size":1024,"word_embed_proj_dim":512,"ffn_dim":4096,"num_hidden_layers":24,"num_attention_heads":16,
             "max_position_embeddings":2048,"vocab_size":50272,"do_layer_norm_before":false}
            """).Shape;

        (shape.NormAfter, shape.EmbeddingProjection, shape.HasOutputNorm).ShouldBe((true, 512, false));
        var tensors = shape.Tensors().ToDictionary(t => t.Name, t => t.Dimensions);
        tensors["token_embd.weight"].ShouldBe([512, 50272]);
        tensors["position_embd.weight"].ShouldBe([1024, 2048]);
        tensors["embd_in.weight"].ShouldBe([512, 1024]);
        tensors["embd_out.weight"].ShouldBe([1024, 512]);
        tensors.Keys.ShouldNotContain("output_norm.weight");
        shape.Tensors().Select(t => t.Name).Take(3).ShouldBe(["token_embd.weight", "position_embd.weight", "embd_in.weight"]);
    }

    [Theory]
    [InlineData("opt", "activation_function", "\"gelu\"", "gelu")]
    [InlineData("opt", "enable_bias", "false", "enable_bias")]
    [InlineData("opt", "layer_norm_elementwise_affine", "false", "norms have no weights")]
    [InlineData("opt", "_remove_final_layer_norm", "true", "_remove_final_layer_norm")]
    [InlineData("bloom", "apply_residual_connection_post_layernorm", "true", "apply_residual_connection_post_layernorm")]
    [InlineData("bloom", "hidden_size", "1e30", "not an integer")]
    [InlineData("bloom", "vocab_size", "0", "vocabulary of 0")]
    [InlineData("opt", "quantization_config", "{}", "already quantized")]
    public void Variants_that_are_not_supported_are_named(string architecture, string key, string value, string said)
    {
        var json = $$"""
            {"model_type":"{{architecture}}","hidden_size":4,"ffn_dim":8,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":8,
             "vocab_size":9,"{{key}}":{{value}}}
            """;

        Should.Throw<ModelFormatException>(() => Format(json)).Message.ShouldContain(said);
    }

    [Theory]
    [InlineData("docs-opt", "model.decoder.", "decoder.")]
    [InlineData("docs-bloom", "", "transformer.")]
    public void Both_prefixes_and_both_kinds_of_weight_files_give_the_same_model(string sample, string prefix, string other)
    {
        var source = Path.Combine(TestData.Samples, sample);
        foreach (var file in (string[])["config.json", "tokenizer.json", "tokenizer_config.json"])
            File.Copy(Path.Combine(source, file), _folder.File(file));
        using (var weights = new WeightFolder(source, name => name))
            WriteOtherKind(weights, name => name.StartsWith(prefix, StringComparison.Ordinal) && name != "lm_head.weight" ? other + name[prefix.Length..] : name);

        var summary = ModelImporter.Import(_folder.Path, _folder.File("again.gguf"), cancellation: TestContext.Current.CancellationToken);

        File.ReadAllBytes(_folder.File("again.gguf")).Length.ShouldBe((int)summary.Bytes);
        using var again = GgufFile.Open(_folder.File("again.gguf"));
        using var first = GgufFile.Open(Packs.Canonical(sample));
        again.Tensors.Select(t => (t.Name, t.Type)).ShouldBe(first.Tensors.Select(t => (t.Name, t.Type)));
        foreach (var tensor in first.Tensors)
            again.ReadBytes(again.Tensor(tensor.Name)).ShouldBe(first.ReadBytes(tensor), tensor.Name);
    }

    /// <summary>OPT, which comes as a PyTorch file, as safetensors; BLOOM the other way, in two files.</summary>
    private void WriteOtherKind(WeightFolder weights, Func<string, string> rename)
    {
        var all = weights.Tensors.Select(t =>
        {
            var bytes = new byte[t.Value.Shape.Aggregate(1L, (a, b) => a * b) * 2];
            t.Value.Read(0, bytes);
            return (Name: rename(t.Key), Shape: t.Value.Shape.ToArray(), Bytes: bytes);
        }).ToList();
        if (weights.Tensors.First().Value.File.EndsWith(".bin", StringComparison.Ordinal))
        {
            TinyModel.WriteSafeTensors(_folder.File("model.safetensors"), "F16", all.ConvertAll(t => (t.Name, t.Shape,
                Array.ConvertAll(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, Half>(t.Bytes).ToArray(), h => (float)h))));
            return;
        }

        var map = new Dictionary<string, string>();
        for (var part = 0; part < 2; part++)
        {
            var name = $"pytorch_model-0000{part + 1}-of-00002.bin";
            var writer = new Pickle.StateDictWriter();
            foreach (var tensor in all.Where((_, i) => i % 2 == part))
            {
                writer.Add(tensor.Name, "HalfStorage", tensor.Bytes, tensor.Shape);
                map[tensor.Name] = name;
            }

            writer.Save(_folder.File(name));
        }

        File.WriteAllText(_folder.File("pytorch_model.bin.index.json"), System.Text.Json.JsonSerializer.Serialize(new { weight_map = map }));
    }

    private FolderFormat Format(string config)
    {
        File.WriteAllText(_folder.File("config.json"), config);
        return FolderFormat.Read(_folder.Path);
    }

    private static IEnumerable<long> Rows(FolderFormat format, string tensor, int count) =>
        Enumerable.Range(0, count).Select(r => format.SourceRow(tensor, r));
}
