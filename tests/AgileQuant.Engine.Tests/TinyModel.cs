using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Tests;

/// <summary>A LLaMA model of a few thousand weights as a Hugging Face folder, in the variations such folders come in.</summary>
internal sealed record TinyModel
{
    public int Dimension { get; init; } = 32;

    public int Layers { get; init; } = 2;

    public int Heads { get; init; } = 4;

    public int KvHeads { get; init; } = 2;

    public int FeedForward { get; init; } = 52;

    public int Vocabulary { get; init; } = 40;

    public bool Tied { get; init; }

    public bool Prefix { get; init; } = true;

    public int Shards { get; init; } = 1;

    /// <summary>F32, F16 or BF16. Values are exact in all three.</summary>
    public string Type { get; init; } = "F16";

    /// <summary>Members put into config.json, or removed from it (null).</summary>
    public Dictionary<string, object?> Config { get; init; } = [];

    public void WriteTo(string folder)
    {
        Directory.CreateDirectory(folder);
        var config = new Dictionary<string, object?>
        {
            ["model_type"] = "llama",
            ["hidden_size"] = Dimension,
            ["intermediate_size"] = FeedForward,
            ["num_hidden_layers"] = Layers,
            ["num_attention_heads"] = Heads,
            ["num_key_value_heads"] = KvHeads,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = 64,
            ["rms_norm_eps"] = 1e-5,
            ["tie_word_embeddings"] = Tied,
        };
        foreach (var (key, value) in Config)
            config[key] = value;
        File.WriteAllText(
            Path.Combine(folder, "config.json"), JsonSerializer.Serialize(config.Where(c => c.Value is not null).ToDictionary()));
        var tensors = Tensors().ToList();
        if (Shards == 1)
        {
            WriteSafeTensors(Path.Combine(folder, "model.safetensors"), Type, tensors);
            return;
        }

        var map = new Dictionary<string, string>();
        for (var s = 0; s < Shards; s++)
        {
            var name = $"model-{s + 1:D5}-of-{Shards:D5}.safetensors";
            var part = tensors.Where((_, i) => i % Shards == s).ToList();
            WriteSafeTensors(Path.Combine(folder, name), Type, part);
            part.ForEach(t => map[t.Name] = name);
        }

        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), JsonSerializer.Serialize(new { weight_map = map }));
    }

    /// <summary>Imports the folder into a file beside it.</summary>
    public (string Path, ModelSummary Summary) Import(TemporaryFolder temporary, string name)
    {
        WriteTo(temporary.File(name));
        var path = temporary.File(name + ".gguf");
        return (path, ModelImporter.Import(temporary.File(name), path, cancellation: CancellationToken.None));
    }

    public static void WriteSafeTensors(string path, string type, IReadOnlyList<(string Name, long[] Shape, float[] Values)> tensors)
    {
        var header = new Dictionary<string, object> { ["__metadata__"] = new { format = "pt" } };
        using var data = new MemoryStream();
        foreach (var (name, shape, values) in tensors)
        {
            var begin = data.Length;
            data.Write(Encode(type, values));
            header[name] = new { dtype = type, shape, data_offsets = (long[])[begin, data.Length] };
        }

        var json = JsonSerializer.SerializeToUtf8Bytes(header);
        using var file = File.Create(path);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        file.Write(length);
        file.Write(json);
        data.WriteTo(file);
    }

    private IEnumerable<(string Name, long[] Shape, float[] Values)> Tensors()
    {
        long dim = Dimension, kv = (long)Dimension / Heads * KvHeads, ffn = FeedForward;
        var prefix = Prefix ? "model." : "";
        var random = new Random(7);
        yield return Matrix(prefix + "embed_tokens.weight", Vocabulary, dim);
        for (var i = 0; i < Layers; i++)
        {
            var layer = $"{prefix}layers.{i}.";
            yield return Vector(layer + "input_layernorm.weight");
            yield return Matrix(layer + "self_attn.q_proj.weight", dim, dim);
            yield return Matrix(layer + "self_attn.k_proj.weight", kv, dim);
            yield return Matrix(layer + "self_attn.v_proj.weight", kv, dim);
            yield return Matrix(layer + "self_attn.o_proj.weight", dim, dim);
            yield return Vector(layer + "post_attention_layernorm.weight");
            yield return Matrix(layer + "mlp.gate_proj.weight", ffn, dim);
            yield return Matrix(layer + "mlp.up_proj.weight", ffn, dim);
            yield return Matrix(layer + "mlp.down_proj.weight", dim, ffn);
        }

        yield return Vector(prefix + "norm.weight");
        if (!Tied)
            yield return Matrix("lm_head.weight", Vocabulary, dim);

        (string, long[], float[]) Matrix(string name, long rows, long columns) =>
            (name, [rows, columns], Values((int)(rows * columns), 0));
        (string, long[], float[]) Vector(string name) => (name, [dim], Values((int)dim, 1));
        // Steps of 1/64 up to 127/64 need 8 bits: exact in BF16 too.
        float[] Values(int count, float middle) =>
            [.. Enumerable.Range(0, count).Select(_ => middle + (middle > 0 ? random.Next(-15, 16) : random.Next(-60, 61)) / 64f)];
    }

    private static byte[] Encode(string type, float[] values) => type switch
    {
        "F32" => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
        "F16" => MemoryMarshal.AsBytes(Array.ConvertAll(values, v => (Half)v).AsSpan()).ToArray(),
        "BF16" => MemoryMarshal.AsBytes(Array.ConvertAll(values, v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16)).AsSpan()).ToArray(),
        _ => new byte[values.Length],
    };

    /// <summary>Copies a GGUF file with other keys or tensors.</summary>
    public static void Rewrite(string source, string destination, Action<GgufMetadata> change, Func<GgufTensor, bool>? keep = null)
    {
        using var file = GgufFile.Open(source);
        var keys = new GgufMetadata();
        foreach (var (key, value) in file.Metadata)
            keys.Add(key, value);
        change(keys);
        var tensors = file.Tensors.Where(keep ?? (_ => true)).ToList();
        using var writer = new GgufWriter(destination, keys, tensors);
        foreach (var tensor in tensors)
            writer.Write(file.ReadBytes(tensor));
        writer.Complete();
    }
}
