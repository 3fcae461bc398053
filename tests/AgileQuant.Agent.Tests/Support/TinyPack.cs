using System.Text;

namespace AgileQuant.Agent.Tests.Support;

/// <summary>A one-layer fp16 LLaMA pack of random weights after docs/packed-model.md, and a token file for it: small enough
/// that an emulated board runs it in a moment.</summary>
public static class TinyPack
{
    public const int Vocabulary = 128;
    public const int Context = 512;

    private const int Dim = 32;
    private const int Heads = 2;
    private const int Ffn = 64;
    private const int Alignment = 32;
    private const uint F32 = 0;
    private const uint F16 = 1;

    private sealed record Tensor(string Name, uint Type, ulong[] Dimensions, byte[] Data);

    public static void WriteModel(string path)
    {
        var random = new Random(42);
        Tensor Matrix(string name, int inputs, int outputs) => new(
            name, F16, [(ulong)inputs, (ulong)outputs],
            [.. Enumerable.Range(0, inputs * outputs).SelectMany(_ => BitConverter.GetBytes((Half)((random.NextDouble() - 0.5) / 3)))]);
        Tensor Norm(string name) =>
            new(name, F32, [Dim], [.. Enumerable.Range(0, Dim).SelectMany(_ => BitConverter.GetBytes(1f))]);

        Tensor[] tensors =
        [
            Matrix("token_embd.weight", Dim, Vocabulary), Norm("blk.0.attn_norm.weight"), Norm("blk.0.ffn_norm.weight"),
            Matrix("blk.0.attn_q.weight", Dim, Dim), Matrix("blk.0.attn_k.weight", Dim, Dim), Matrix("blk.0.attn_v.weight", Dim, Dim),
            Matrix("blk.0.attn_output.weight", Dim, Dim), Matrix("blk.0.ffn_gate.weight", Dim, Ffn), Matrix("blk.0.ffn_up.weight", Dim, Ffn),
            Matrix("blk.0.ffn_down.weight", Ffn, Dim), Norm("output_norm.weight"), Matrix("output.weight", Dim, Vocabulary),
        ];
        using var writer = new BinaryWriter(File.Create(path));
        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write((ulong)tensors.Length);
        WriteKeys(writer);
        var offset = 0UL;
        foreach (var tensor in tensors)
        {
            Text(writer, tensor.Name);
            writer.Write((uint)tensor.Dimensions.Length);
            foreach (var dimension in tensor.Dimensions)
                writer.Write(dimension);
            writer.Write(tensor.Type);
            writer.Write(offset);
            offset += (ulong)(tensor.Data.Length + Alignment - 1) / Alignment * Alignment;
        }

        foreach (var tensor in tensors)
        {
            Pad(writer);
            writer.Write(tensor.Data);
        }

        Pad(writer);
    }

    public static void WriteTokens(string path, int count)
    {
        using var writer = new BinaryWriter(File.Create(path));
        writer.Write("AQTK"u8);
        writer.Write(1u);
        writer.Write((uint)Vocabulary);
        writer.Write(1);
        writer.Write(1u);
        writer.Write(0u);
        writer.Write((ulong)count);
        for (var i = 0; i < count; i++)
            writer.Write(i * 37 % Vocabulary);
    }

    private static void WriteKeys(BinaryWriter writer)
    {
        writer.Write(14UL);
        TextKey(writer, "general.architecture", "llama");
        TextKey(writer, "general.name", "tiny test");
        NumberKey(writer, "llama.context_length", Context);
        NumberKey(writer, "llama.embedding_length", Dim);
        NumberKey(writer, "llama.block_count", 1);
        NumberKey(writer, "llama.feed_forward_length", Ffn);
        NumberKey(writer, "llama.attention.head_count", Heads);
        NumberKey(writer, "llama.attention.head_count_kv", Heads);
        FloatKey(writer, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
        FloatKey(writer, "llama.rope.freq_base", 10000);
        NumberKey(writer, "llama.rope.dimension_count", Dim / Heads);
        NumberKey(writer, "llama.vocab_size", Vocabulary);
        NumberKey(writer, "agilequant.format", 1);
        TextKey(writer, "agilequant.precision", "fp16");
    }

    private static void TextKey(BinaryWriter writer, string key, string value)
    {
        Text(writer, key);
        writer.Write(8u);
        Text(writer, value);
    }

    private static void NumberKey(BinaryWriter writer, string key, uint value)
    {
        Text(writer, key);
        writer.Write(4u);
        writer.Write(value);
    }

    private static void FloatKey(BinaryWriter writer, string key, float value)
    {
        Text(writer, key);
        writer.Write(6u);
        writer.Write(value);
    }

    private static void Text(BinaryWriter writer, string text)
    {
        writer.Write((ulong)Encoding.UTF8.GetByteCount(text));
        writer.Write(Encoding.UTF8.GetBytes(text));
    }

    private static void Pad(BinaryWriter writer)
    {
        writer.Flush();
        while (writer.BaseStream.Position % Alignment != 0)
            writer.Write((byte)0);
    }
}
