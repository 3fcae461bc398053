using AgileQuant.Engine;
using AgileQuant.Engine.Gguf;

namespace AgileQuant.Host.Perf;

/// <summary>What a packed model makes a processor do for a token, counted from its tensors.</summary>
/// <param name="PackBytes">Size of the file.</param>
/// <param name="WeightBytes">Bytes of the layers and the output head as stored: what one generated token reads at least.</param>
/// <param name="MultiplyAdds">Of one prompt token, in the linears of all layers; attention is not counted, the head runs once a prompt.</param>
/// <param name="KvBytesPerPosition">Keys and values of one token, all layers.</param>
/// <param name="ActivationBytesPerRow">Working memory of one row of a prefill step: residual, norm, q, k, v, attention and both halves of the feed-forward block in fp32, and a quantized copy of the widest.</param>
/// <param name="WeightBits">16, 8 or 4.</param>
/// <param name="IsBf16">16-bit weights are bf16.</param>
internal sealed record PackWork(
    long PackBytes, long WeightBytes, long MultiplyAdds, long KvBytesPerPosition, long ActivationBytesPerRow, int WeightBits, bool IsBf16)
{
    private const long Allowance = 64L << 20;

    /// <exception cref="ModelFormatException">Not a packed model.</exception>
    public static PackWork Read(string path)
    {
        using var pack = GgufFile.Open(path);
        var keys = pack.Metadata;
        if (!keys.Contains("agilequant.format"))
            throw new ModelFormatException($"{path}: not a packed model");
        var prefix = keys.Text("general.architecture") + ".";
        int dim = Key("embedding_length"), layers = Key("block_count"), ffn = Key("feed_forward_length"), heads = Key("attention.head_count");
        var kv = dim / Math.Max(1, heads) * (keys.Integer(prefix + "attention.head_count_kv") ?? heads);
        var precision = Precision.Parse(keys.Text("agilequant.precision") ?? "");
        var head = pack.Contains("output.weight") ? "output." : "token_embd.";
        var read = pack.Tensors.Where(t => t.Name.StartsWith("blk.", StringComparison.Ordinal) || t.Name.StartsWith(head, StringComparison.Ordinal)).ToList();
        return new PackWork(
            new FileInfo(path).Length,
            read.Sum(t => t.Bytes),
            read.Where(t => t.Name.StartsWith("blk.", StringComparison.Ordinal)).Sum(t => MultiplyAddsOf(t, pack)),
            2L * layers * kv * (keys.Integer("agilequant.kv_bits") ?? 16) / 8,
            4L * (4L * dim + 2 * kv + 2 * ffn) + 4L * Math.Max(dim, ffn),
            precision.WeightBits, precision.IsBf16);

        int Key(string name) => keys.Integer(prefix + name) ?? throw new ModelFormatException($"{path}: metadata key {prefix}{name} is missing");
    }

    /// <summary>The memory goal (docs/measurement.md): the pack, the cache, the activations of one prefill step, and 64 MiB.</summary>
    public long MemoryGoal(int context, int microBatch) =>
        PackBytes + KvBytesPerPosition * context + ActivationBytesPerRow * microBatch + Allowance;

    /// <summary>Bytes that a generated token reads, with so many tokens before it.</summary>
    public double GenerationBytes(double position) => WeightBytes + KvBytesPerPosition * position;

    /// <summary>Inputs times outputs of a linear; int4 weights are two a byte, and their scales are F16.</summary>
    private static long MultiplyAddsOf(GgufTensor tensor, GgufFile pack)
    {
        if (tensor.Dimensions.Count != 2 || !tensor.Name.EndsWith(".weight", StringComparison.Ordinal))
            return 0;
        var isNibbles = tensor.Type == TensorType.I8 && pack.Find(tensor.Name[..^"weight".Length] + "scale")?.Type == TensorType.F16;
        return tensor.Elements * (isNibbles ? 2 : 1);
    }
}
