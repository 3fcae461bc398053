using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Packing;

/// <summary>A source tensor and the tensors it becomes, or one that calibration has prepared.</summary>
internal sealed record PackItem(string Source, IReadOnlyList<long> Dimensions, RowCodec? Codec, IReadOnlyList<GgufTensor> Stored)
{
    /// <summary>Bytes of the one stored tensor, when there is no codec.</summary>
    public Func<byte[]>? Data { get; private init; }

    public static PackItem Prepared(GgufTensor tensor, Func<byte[]> data) => new("", tensor.Dimensions, null, [tensor]) { Data = data };
}

/// <summary>Which tensors and keys a pack holds, and in which order (docs/packed-model.md).</summary>
internal static class PackLayout
{
    /// <param name="shape">Of the model.</param>
    /// <param name="recipe">The recipe.</param>
    /// <param name="linears">What calibration made; null: linears are rounded to nearest while they are packed.</param>
    public static IEnumerable<PackItem> Items(ModelShape shape, PackRecipe recipe, CalibratedLinears? linears)
    {
        foreach (var tensor in shape.Tensors())
        {
            if (tensor.Name == "rope_freqs.weight" && shape.TiedOutput && !recipe.Precision.Is16Bit)
                yield return QuantizedTiedHead(shape); // in the place where an output head of its own would stand
            foreach (var item in linears?.ItemsFor(tensor) ?? [Item(tensor.Name, tensor.Name, tensor.Dimensions, CodecFor(tensor.Role, recipe))])
                yield return item;
        }

        if (!shape.HasRopeFactors && shape.TiedOutput && !recipe.Precision.Is16Bit)
            yield return QuantizedTiedHead(shape);
    }

    public static GgufMetadata Metadata(GgufMetadata source, ModelShape shape, PackRecipe recipe, string sourceSha256, CalibratedLinears? linears)
    {
        var keys = new GgufMetadata();
        (shape with { RandomWeights = false }).WriteTo(keys, FileType(recipe.Precision));
        keys.Add("agilequant.format", IsFormat1(shape, recipe.Precision) ? 1u : 2u);
        keys.Add("agilequant.precision", recipe.Precision.ToString());
        keys.Add("agilequant.weight_bits", (uint)recipe.Precision.WeightBits);
        keys.Add("agilequant.activation_bits", (uint)recipe.Precision.ActivationBits);
        if (recipe.Precision.WeightBits == 4)
            keys.Add("agilequant.group_size", (uint)recipe.GroupSize);
        keys.Add("agilequant.recipe", recipe.ToCanonicalJson(linears is null ? null : linears.WriteChosen));
        keys.Add("agilequant.source_sha256", sourceSha256);
        keys.Add("agilequant.random_weights", shape.RandomWeights);
        AddOptions(keys, shape, recipe.Precision, linears);
        linears?.AddKeys(keys);
        foreach (var (key, value) in source)
        {
            if (key.StartsWith("tokenizer.", StringComparison.Ordinal))
                keys.Add(key, value);
        }

        return keys;
    }

    /// <summary>The keys of format 2 that follow from the name, but for the layers that prune: those are chosen where there is a text.</summary>
    private static void AddOptions(GgufMetadata keys, ModelShape shape, Precision precision, CalibratedLinears? linears)
    {
        var options = precision.Options;
        if (options.Probabilities is { } probabilities)
        {
            keys.Add("agilequant.probabilities", probabilities switch
            {
                ProbabilityFormat.Log2 => "log2",
                ProbabilityFormat.Uniform => "uniform",
                _ => "fp32",
            });
        }

        if (options.Prune == PruneMode.Paper)
        {
            keys.Add("agilequant.prune.mode", "paper");
            keys.Add("agilequant.prune.ratio", (float)options.PruneRatio);
            keys.Add("agilequant.prune.keep", linears?.KeepShares ?? PruningPlan.KeepShares(shape.Layers, (double)options.PruneRatio));
        }

        if (options.Int8KeyValues)
            keys.Add("agilequant.kv_bits", 8u);
    }

    /// <summary>Format 1 has LLaMA models only, no options, and no bf16.</summary>
    private static bool IsFormat1(ModelShape shape, Precision precision) =>
        shape.Architecture == Architecture.Llama && precision == new Precision(precision.WeightBits, precision.ActivationBits);

    private static TensorType FileType(Precision precision) =>
        precision.IsBf16 ? TensorType.BF16 : precision.Is16Bit ? TensorType.F16 : TensorType.I8;

    private static PackItem QuantizedTiedHead(ModelShape shape) =>
        Item("token_embd.weight", "output.weight", [shape.EmbeddingWidth, shape.VocabularySize], new Int8Codec());

    private static RowCodec CodecFor(TensorRole role, PackRecipe recipe) => (role, recipe.Precision.WeightBits) switch
    {
        (TensorRole.Vector or TensorRole.Bias, _) => new FloatCodec(),
        (TensorRole.Embedding or TensorRole.Head or TensorRole.Linear, _) when recipe.Precision.IsBf16 => new BrainCodec(),
        (TensorRole.Embedding or TensorRole.Position or TensorRole.Projection, _) or (_, 16) => new HalfCodec(),
        (TensorRole.Head, _) or (_, 8) => new Int8Codec(),
        _ when recipe.Precision.Options.Asymmetric => new Int4ZeroCodec(recipe.GroupSize),
        _ => new Int4Codec(recipe.GroupSize),
    };

    private static PackItem Item(string source, string name, IReadOnlyList<long> dimensions, RowCodec codec)
    {
        var rows = dimensions.Skip(1).ToArray();
        var length = (int)dimensions[0];
        List<GgufTensor> stored = [new(name, codec.Type, [codec.StoredLength(length), .. rows])];
        foreach (var side in codec.Sides(length))
            stored.Add(new(name[..^".weight".Length] + side.Suffix, side.Type, side.IsVector ? rows : [side.PerRow, .. rows]));
        return new PackItem(source, dimensions, codec, stored);
    }
}
