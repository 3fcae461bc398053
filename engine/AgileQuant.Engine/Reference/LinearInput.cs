using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>How the input of one or several linears is quantized: its range, and TRIP's factors, order and static scale.</summary>
public sealed class LinearInput
{
    /// <summary>Largest absolute activation: 127, or 7 for 4 bits.</summary>
    public required int Limit { get; init; }

    /// <summary>TRIP: <c>2^-a</c> of each channel; empty: all 1.</summary>
    public float[] Factors { get; init; } = [];

    /// <summary>TRIP, shifted: place j of the input is channel <c>Order[j]</c>; empty: as they are.</summary>
    public int[] Order { get; init; } = [];

    /// <summary>Calibrated scale and zero point; null: the scale follows from each row.</summary>
    public (float Scale, float Zero)? Static { get; init; }

    /// <summary>Reads <c>blk.N.WHAT.{trip,order,static}</c>, where they are.</summary>
    /// <param name="pack">A packed model.</param>
    /// <param name="name"><c>blk.N.</c> and <c>attn_in</c>, <c>attn_out</c>, <c>ffn_in</c> or <c>ffn_mid</c>.</param>
    /// <param name="inputs">Width.</param>
    /// <param name="limit">7 or 127.</param>
    internal static LinearInput Load(GgufFile pack, string name, int inputs, int limit)
    {
        var factors = pack.Find(name + ".trip") is { } trip
            ? Array.ConvertAll(pack.ReadBytes(Expected(pack, trip, TensorType.I8, inputs)), a => Factor(pack.Path, name, (sbyte)a))
            : [];
        var order = pack.Find(name + ".order") is { } places
            ? Array.ConvertAll(pack.ReadFloats(Expected(pack, places, TensorType.F32, inputs)), v => (int)v)
            : [];
        if (order.Length > 0 && !order.Order().SequenceEqual(Enumerable.Range(0, inputs)))
            throw new ModelFormatException($"{pack.Path}: {name}.order is not a permutation of 0..{inputs - 1}");
        var scale = pack.Find(name + ".static") is { } calibrated ? pack.ReadFloats(Expected(pack, calibrated, TensorType.F32, 2)) : null;
        if (scale is not null && !(float.IsFinite(scale[0]) && scale[0] > 0 && float.IsInteger(scale[1])))
            throw new ModelFormatException($"{pack.Path}: {name}.static is scale {scale[0]}, zero point {scale[1]}");
        return new LinearInput { Limit = limit, Factors = factors, Order = order, Static = scale is null ? null : (scale[0], scale[1]) };
    }

    /// <summary>
    /// Dynamic: <c>s = absmax(x') / L</c> of <c>x' = x * 2^-a</c>; static: <c>q = clamp(rint(x' * (1 / s)) + z, -L, L)</c>.
    /// </summary>
    /// <param name="x">The input, channels in the model's order.</param>
    /// <param name="low">4-bit activations whatever <see cref="Limit"/> says.</param>
    /// <param name="quantized">As many values, in the order of the weights' columns.</param>
    /// <returns>The scale.</returns>
    public float Quantize(ReadOnlySpan<float> x, bool low, Span<int> quantized)
    {
        var limit = low ? 7 : Limit;
        var row = new float[x.Length];
        for (var j = 0; j < row.Length; j++)
        {
            var channel = Order.Length > 0 ? Order[j] : j;
            row[j] = Factors.Length > 0 ? x[channel] * Factors[channel] : x[channel];
        }

        if (Static is not var (scale, zero))
            return Quantizers.Activations(row, limit == 127 ? 8 : 4, quantized);
        var inverse = 1f / scale;
        for (var j = 0; j < row.Length; j++)
            quantized[j] = (int)Math.Clamp(MathF.Round(row[j] * inverse, MidpointRounding.ToEven) + zero, -limit, limit);
        return scale;
    }

    private static float Factor(string path, string name, sbyte exponent) => exponent is >= 0 and <= 15
        ? MathF.ScaleB(1, -exponent)
        : throw new ModelFormatException($"{path}: {name}.trip holds {exponent}, outside 0..15");

    private static GgufTensor Expected(GgufFile pack, GgufTensor tensor, TensorType type, int length)
    {
        return tensor.Type == type && tensor.Dimensions.SequenceEqual([(long)length])
            ? tensor
            : throw new ModelFormatException($"{pack.Path}: tensor {tensor.Name} is {tensor.Type} "
                + $"[{string.Join(", ", tensor.Dimensions)}], {type} [{length}] was expected");
    }
}
