using System.Text.Json;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using Shouldly;

namespace AgileQuant.Engine.Tests.Import;

/// <summary>Every architecture through a folder, through GGUF, and in the order of the contract.</summary>
public sealed class ArchitectureTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(RandomFolder.Opt)]
    [InlineData(RandomFolder.Opt350M)]
    [InlineData(RandomFolder.Bloom)]
    public void A_folder_and_the_gguf_made_from_it_are_the_same_model_with_the_same_logits(string config)
    {
        RandomFolder.Write(_folder.File("model"), config);
        var first = Import(_folder.File("model"), "model.gguf");

        var again = Import(_folder.File("model.gguf"), "again.gguf");

        again.ShouldBe(first);
        File.ReadAllBytes(_folder.File("again.gguf")).ShouldBe(File.ReadAllBytes(_folder.File("model.gguf")));
        var logits = Logits("model.gguf");
        Logits("again.gguf").ShouldBe(logits);
        logits.SelectMany(l => l).Distinct().Count().ShouldBeGreaterThan(100);
    }

    [Fact]
    public void Tensors_of_opt_stand_in_the_documented_order()
    {
        RandomFolder.Write(_folder.File("model"), RandomFolder.Opt350M);
        Import(_folder.File("model"), "model.gguf");
        Packer.Pack(_folder.File("model.gguf"), PackRecipe.For(Precision.Parse("w4a8+asym")), _folder.File("pack.gguf"),
            cancellation: TestContext.Current.CancellationToken);

        using var pack = GgufFile.Open(_folder.File("pack.gguf"));
        var names = pack.Tensors.Select(t => t.Name).ToList();
        names.Where(n => !n.StartsWith("blk.", StringComparison.Ordinal)).ShouldBe(
            ["token_embd.weight", "position_embd.weight", "embd_in.weight", "embd_out.weight", "output.weight", "output.scale"]);
        names.Where(n => n.StartsWith("blk.0.", StringComparison.Ordinal)).Select(n => n[6..]).ShouldBe(
        [
            "attn_norm.weight", "attn_norm.bias", .. Linear("attn_q"), .. Linear("attn_k"), .. Linear("attn_v"), .. Linear("attn_output"),
            "ffn_norm.weight", "ffn_norm.bias", .. Linear("ffn_up"), .. Linear("ffn_down"),
        ]);
        (pack.Metadata.Integer("agilequant.format"), pack.Metadata.Integer("opt.embedding_projection"), pack.Metadata.Flag("opt.norm_after"))
            .ShouldBe((2, 40, true));
        pack.Tensor("output.weight").Dimensions.ShouldBe([40, 70]);
        pack.Tensor("embd_in.weight").Type.ShouldBe(TensorType.F16);
        pack.Tensor("blk.0.ffn_up.bias").Type.ShouldBe(TensorType.F32);

        static string[] Linear(string name) => [$"{name}.weight", $"{name}.scale", $"{name}.zero", $"{name}.bias"];
    }

    [Fact]
    public void Tensors_of_bloom_stand_in_the_documented_order_with_llama_cpps_keys()
    {
        RandomFolder.Write(_folder.File("model"), RandomFolder.Bloom);
        Import(_folder.File("model"), "model.gguf");

        using var model = GgufFile.Open(_folder.File("model.gguf"));
        model.Tensors.Select(t => t.Name).Take(5).ShouldBe(
            ["token_embd.weight", "token_embd_norm.weight", "token_embd_norm.bias", "blk.0.attn_norm.weight", "blk.0.attn_norm.bias"]);
        model.Tensor("blk.0.attn_qkv.weight").Dimensions.ShouldBe([48, 144]);
        model.Tensors.Select(t => t.Name).TakeLast(2).ShouldBe(["output_norm.weight", "output_norm.bias"]);
        model.Metadata.Select(k => k.Key).Where(k => k.StartsWith("bloom.", StringComparison.Ordinal)).ShouldBe(
        [
            "bloom.context_length", "bloom.embedding_length", "bloom.feed_forward_length", "bloom.block_count",
            "bloom.attention.head_count", "bloom.attention.head_count_kv", "bloom.attention.layer_norm_epsilon", "bloom.vocab_size",
        ]);
    }

    [Theory]
    [InlineData("F16", 1)]
    [InlineData("BF16", 1)]
    [InlineData("F32", 2)]
    public void A_model_is_imported_through_buffers_of_a_few_megabytes(string type, int bytesFactor)
    {
        // A sparse file of zeros; the largest tensor alone is several times as large as the bound.
        var config = """{"model_type":"bloom","hidden_size":512,"n_head":8,"n_layer":4,"vocab_size":60000,"seq_length":64}""";
        Directory.CreateDirectory(_folder.File("model"));
        File.WriteAllText(_folder.File("model/config.json"), config);
        WriteSparse(FolderFormat.Read(_folder.File("model")), type, 2 * bytesFactor);
        var before = GC.GetAllocatedBytesForCurrentThread();

        var summary = Import(_folder.File("model"), "model.gguf");

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        summary.Bytes.ShouldBeGreaterThan(80_000_000 * bytesFactor);
        allocated.ShouldBeLessThan(12_000_000);
    }

    [Fact]
    public void Quantized_tensors_are_widened_through_buffers_of_a_few_megabytes()
    {
        RandomFolder.Write(_folder.File("model"), RandomFolder.Bloom);
        Import(_folder.File("model"), "model.gguf");
        using (var file = GgufFile.Open(_folder.File("model.gguf")))
        {
            var keys = new GgufMetadata();
            foreach (var (key, value) in file.Metadata)
                keys.Add(key, value);
            keys.Add("bloom.embedding_length", 96u);
            keys.Add("bloom.feed_forward_length", 192u);
            var tensors = (ModelShape.FromGguf(file) with { Dimension = 96, FeedForward = 192, VocabularySize = 120_000 }).Tensors()
                .Select(t => new GgufTensor(t.Name, t.Dimensions.Count == 2 ? TensorType.Q40 : TensorType.F32, t.Dimensions)).ToList();
            using var writer = new GgufWriter(_folder.File("q4.gguf"), keys, tensors);
            tensors.ForEach(t => writer.Write(new byte[t.Bytes]));
            writer.Complete();
        }

        var before = GC.GetAllocatedBytesForCurrentThread();

        var summary = Import(_folder.File("q4.gguf"), "wide.gguf");

        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(12_000_000);
        summary.Bytes.ShouldBeGreaterThan(23_000_000);
    }

    /// <summary>model.safetensors with a header and a hole behind it.</summary>
    private void WriteSparse(FolderFormat format, string type, int elementBytes)
    {
        long offset = 0;
        var header = new Dictionary<string, object>();
        foreach (var tensor in format.Shape.Tensors())
        {
            var end = offset + tensor.Dimensions.Aggregate((a, b) => a * b) * elementBytes;
            header[format.NameOf(tensor.Name)] = new { dtype = type, shape = tensor.Dimensions.Reverse(), data_offsets = (long[])[offset, end] };
            offset = end;
        }

        var json = JsonSerializer.SerializeToUtf8Bytes(header);
        using var file = File.Create(_folder.File("model/model.safetensors"));
        file.Write(BitConverter.GetBytes((long)json.Length));
        file.Write(json);
        file.SetLength(file.Position + offset);
    }

    private ModelSummary Import(string source, string name) =>
        ModelImporter.Import(source, _folder.File(name), cancellation: TestContext.Current.CancellationToken);

    private float[][] Logits(string canonical)
    {
        var pack = _folder.File($"{canonical}.fp16");
        Packer.Pack(_folder.File(canonical), PackRecipe.For(Precision.Fp16), pack, cancellation: TestContext.Current.CancellationToken);
        return ReferenceModel.Load(pack).Logits([1, 5, 9, 2, 17]);
    }
}
