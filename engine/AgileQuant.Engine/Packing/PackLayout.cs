using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Packing;

/// <summary>A source tensor and the one or two tensors it becomes.</summary>
internal sealed record PackItem(string Source, IReadOnlyList<long> Dimensions, RowCodec Codec, IReadOnlyList<GgufTensor> Stored);

/// <summary>Which tensors and keys a pack holds, and in which order (docs/packed-model.md).</summary>
internal static class PackLayout
{
    public static IEnumerable<PackItem> Items(LlamaShape shape, PackRecipe recipe)
    {
        foreach (var tensor in shape.Tensors())
        {
            if (tensor.Name == "rope_freqs.weight" && shape.TiedOutput && !recipe.Precision.IsBaseline)
                yield return QuantizedTiedHead(shape); // in the place where an output head of its own would stand
            yield return Item(tensor.Name, tensor.Name, tensor.Dimensions, CodecFor(tensor.Role, recipe));
        }

        if (!shape.HasRopeFactors && shape.TiedOutput && !recipe.Precision.IsBaseline)
            yield return QuantizedTiedHead(shape);
    }

    public static GgufMetadata Metadata(GgufMetadata source, LlamaShape shape, PackRecipe recipe, string sourceSha256)
    {
        var keys = new GgufMetadata();
        (shape with { RandomWeights = false }).WriteTo(keys, recipe.Precision.IsBaseline ? TensorType.F16 : TensorType.I8);
        keys.Add("agilequant.format", 1u);
        keys.Add("agilequant.precision", recipe.Precision.ToString());
        keys.Add("agilequant.weight_bits", (uint)recipe.Precision.WeightBits);
        keys.Add("agilequant.activation_bits", (uint)recipe.Precision.ActivationBits);
        if (recipe.Precision.WeightBits == 4)
            keys.Add("agilequant.group_size", (uint)recipe.GroupSize);
        keys.Add("agilequant.recipe", recipe.ToCanonicalJson());
        keys.Add("agilequant.source_sha256", sourceSha256);
        keys.Add("agilequant.random_weights", shape.RandomWeights);
        foreach (var (key, value) in source)
        {
            if (key.StartsWith("tokenizer.", StringComparison.Ordinal))
                keys.Add(key, value);
        }

        return keys;
    }

    private static PackItem QuantizedTiedHead(LlamaShape shape) =>
        Item("token_embd.weight", "output.weight", [shape.Dimension, shape.VocabularySize], new Int8Codec());

    private static RowCodec CodecFor(TensorRole role, PackRecipe recipe) => (role, recipe.Precision.WeightBits) switch
    {
        (TensorRole.Vector, _) => new FloatCodec(),
        (TensorRole.Embedding, _) or (_, 16) => new HalfCodec(),
        (TensorRole.Head, _) or (_, 8) => new Int8Codec(),
        _ => new Int4Codec(recipe.GroupSize),
    };

    private static PackItem Item(string source, string name, IReadOnlyList<long> dimensions, RowCodec codec)
    {
        var rows = dimensions.Skip(1).ToArray();
        var length = (int)dimensions[0];
        List<GgufTensor> stored = [new(name, codec.Type, [codec.StoredLength(length), .. rows])];
        if (codec.ScaleType is { } scale)
        {
            var perRow = codec.ScaleBytes(length) / scale.Block().Bytes;
            stored.Add(new(name[..^".weight".Length] + ".scale", scale, codec is Int8Codec ? rows : [perRow, .. rows]));
        }

        return new PackItem(source, dimensions, codec, stored);
    }
}
