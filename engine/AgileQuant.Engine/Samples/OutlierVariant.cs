using System.Globalization;
using System.Runtime.InteropServices;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Samples;

namespace AgileQuant.Engine;

/// <summary>
/// Derives a model with outlier channels from one that has few, without changing what it computes: some channels of the weight (and
/// bias) of the two norms in each block are multiplied by a power of two, and the columns of the linears that read that norm are
/// divided by it. The products are the same numbers in fp32; an activation quantizer with one scale a token now sees a few channels
/// that dwarf the others, as in large trained models. The final norm (its head may be tied) and BLOOM's embedding norm stay.
/// </summary>
public sealed record OutlierVariant
{
    private const int ChunkBytes = 8 << 20;

    /// <summary>Linears that read a norm's output, by the norm; names as in GGUF, whatever the architecture.</summary>
    private static readonly Dictionary<string, string[]> Readers = new(StringComparer.Ordinal)
    {
        ["attn_norm"] = ["attn_q", "attn_k", "attn_v", "attn_qkv"],
        ["ffn_norm"] = ["ffn_gate", "ffn_up"],
    };

    private static readonly string[] Architectures = ["llama", "opt", "bloom"];

    /// <summary>Channels that become outliers, the same ones in every norm, as large models have them.</summary>
    public int Channels { get; init; } = 8;

    /// <summary>What they are multiplied by: a power of two, so that nothing is rounded.</summary>
    public int Factor { get; init; } = 32;

    /// <summary>Which channels they are.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Writes the variant of a canonical model, all tensors F32, named like it with "-outliers" behind.</summary>
    /// <param name="canonicalGguf">What <see cref="ModelImporter"/> wrote: LLaMA, OPT or BLOOM.</param>
    /// <param name="destinationGguf">Written under a temporary name and renamed when complete.</param>
    /// <param name="progress">Share of the tensor data that is written, 0 to 1.</param>
    /// <param name="cancellation">Stops between chunks; nothing is left behind.</param>
    /// <returns>SHA-256 (lower-case hexadecimal) and size of the file, and the channels in ascending order.</returns>
    /// <exception cref="ModelFormatException">Not a model this can be done to.</exception>
    /// <exception cref="ArgumentException">The channels or the factor make no sense.</exception>
    public (string Sha256, long Bytes, IReadOnlyList<int> Chosen) Write(
        string canonicalGguf, string destinationGguf, IProgress<ModelProgress>? progress = null, CancellationToken cancellation = default)
    {
        using var source = GgufFile.Open(canonicalGguf);
        Refuse(source);
        var chosen = Choose((int)source.Tensor("blk.0.attn_norm.weight").RowLength);
        var tensors = source.Tensors.Select(t => new GgufTensor(t.Name, TensorType.F32, t.Dimensions)).ToList();
        using var writer = new GgufWriter(destinationGguf, Keys(source), tensors);
        var (total, done) = (tensors.Sum(t => t.Bytes), 0L);
        foreach (var (index, tensor) in source.Tensors.Index())
        {
            Copy(source, tensor, Change(tensor, chosen), writer, bytes =>
            {
                cancellation.ThrowIfCancellationRequested();
                done += bytes;
                progress?.Report(new ModelProgress((double)done / total, tensor.Name, index + 1, tensors.Count));
            });
        }

        var (sha256, size) = writer.Complete();
        return (sha256, size, chosen);
    }

    /// <summary>The channels with the smallest random numbers, ascending.</summary>
    internal int[] Choose(int width)
    {
        if (Channels < 1 || Channels > width)
            throw new ArgumentException($"{Channels} outlier channels: choose from 1 to the model's width, {width}");
        if (Factor < 2 || Factor > 1024 || (Factor & (Factor - 1)) != 0)
            throw new ArgumentException($"factor {Factor}: it must be a power of two from 2 to 1024, so that nothing is rounded");
        var random = new CounterRandom(Seed, 0);
        return [.. Enumerable.Range(0, width).OrderBy(c => random.Bits(c)).ThenBy(c => c).Take(Channels).Order()];
    }

    private static void Refuse(GgufFile source)
    {
        var keys = source.Metadata;
        var architecture = keys.Text("general.architecture") ?? "none";
        if (keys.Contains("agilequant.format"))
            throw new ModelFormatException($"{source.Path}: this is a packed model; give the model that it was packed from");
        if (!Architectures.Contains(architecture))
            throw new ModelFormatException($"{source.Path}: architecture '{architecture}' has no outlier variant; {string.Join(", ", Architectures)} have");
        if (keys.Flag("opt.norm_after") == true)
            throw new ModelFormatException($"{source.Path}: its norms follow the residual addition, so that not only linears read them; it has no outlier variant");
        if (source.Tensors.FirstOrDefault(t => t.Type == TensorType.I8) is { } packed)
            throw new ModelFormatException($"{source.Path}: tensor {packed.Name} has type I8, which only packed models have");
    }

    private static GgufMetadata Keys(GgufFile source)
    {
        var keys = new GgufMetadata();
        foreach (var (key, value) in source.Metadata)
        {
            keys.Add(key, key switch
            {
                "general.name" => (source.Metadata.Text("general.name") ?? "model") + "-outliers",
                "general.file_type" => 0u, // F32
                _ => value,
            });
        }

        return keys;
    }

    /// <summary>What each element of a row is multiplied by; null: the tensor stays as it is.</summary>
    private float[]? Change(GgufTensor tensor, int[] chosen)
    {
        var parts = tensor.Name.Split('.'); // blk.N.what.weight
        if (parts is not ["blk", _, var what, "weight" or "bias"])
            return null;
        var isNorm = Readers.ContainsKey(what);
        if (!isNorm && (parts[3] == "bias" || !Readers.Values.Any(r => r.Contains(what))))
            return null;
        var factors = new float[tensor.RowLength];
        Array.Fill(factors, 1f);
        foreach (var channel in chosen)
        {
            if (channel >= factors.Length)
                throw new ModelFormatException(string.Create(CultureInfo.InvariantCulture, $"tensor {tensor.Name} has rows of {tensor.RowLength}, not of the model's width"));
            factors[channel] = isNorm ? Factor : 1f / Factor;
        }

        return factors;
    }

    /// <summary>Streams a tensor as F32 in chunks of whole rows.</summary>
    private static void Copy(GgufFile source, GgufTensor tensor, float[]? factors, GgufWriter writer, Action<long> wrote)
    {
        var rowBytes = tensor.Type.RowBytes(tensor.RowLength);
        var rowsAtOnce = Math.Clamp(ChunkBytes / Math.Max(rowBytes, tensor.RowLength * sizeof(float)), 1, tensor.Rows);
        var buffer = new byte[rowsAtOnce * rowBytes];
        var floats = new float[rowsAtOnce * tensor.RowLength];
        for (long row = 0; row < tensor.Rows; row += rowsAtOnce)
        {
            var rows = Math.Min(rowsAtOnce, tensor.Rows - row);
            var bytes = buffer.AsSpan(0, (int)(rows * rowBytes));
            var values = floats.AsSpan(0, (int)(rows * tensor.RowLength));
            source.Read(tensor, row * rowBytes, bytes);
            TensorCodec.ToFloats(tensor.Type, bytes, values);
            for (var i = 0; factors is not null && i < values.Length; i++)
                values[i] *= factors[i % factors.Length];
            writer.WriteValues<float>(values);
            wrote(MemoryMarshal.AsBytes(values).Length);
        }
    }
}
