using System.Numerics.Tensors;

namespace AgileQuant.Engine.Quantization;

/// <summary>
/// The quantizers of docs/packed-model.md, "Numeric contract". All rounding is half to even; every step is an fp32
/// operation unless a type says otherwise.
/// </summary>
public static class Quantizers
{
    /// <summary>
    /// An activation row: <c>s = absmax / limit</c>, <c>q = clamp(rint(x * (limit / absmax)))</c>; a zero row, and one so small
    /// that the reciprocal exceeds 3e38, has scale 0 and zeros.
    /// </summary>
    /// <param name="row">fp32 inputs of a linear for one token.</param>
    /// <param name="bits">8: -127..127. 4: -7..7.</param>
    /// <param name="quantized">As many values as the row.</param>
    /// <returns>The scale.</returns>
    public static float Activations(ReadOnlySpan<float> row, int bits, Span<int> quantized)
    {
        float limit = bits == 8 ? 127 : 7;
        var largest = AbsoluteMaximum(row);
        var inverse = limit / largest;
        if (largest == 0 || inverse > 3e38f)
        {
            quantized.Clear();
            return 0;
        }

        for (var i = 0; i < row.Length; i++)
            quantized[i] = (int)Math.Clamp(MathF.Round(row[i] * inverse, MidpointRounding.ToEven), -limit, limit);
        return largest / limit;
    }

    /// <summary>An int8 weight row: <c>s = absmax / 127</c>, <c>q = clamp(rint(w / s), -127, 127)</c>.</summary>
    /// <returns>The scale; 0 for a row of zeros.</returns>
    public static float Int8Row(ReadOnlySpan<float> row, Span<sbyte> quantized)
    {
        var scale = AbsoluteMaximum(row) / 127f;
        for (var i = 0; i < row.Length; i++)
            quantized[i] = scale == 0 ? (sbyte)0 : (sbyte)Math.Clamp(MathF.Round(row[i] / scale, MidpointRounding.ToEven), -127, 127);
        return scale;
    }

    /// <summary>
    /// An int4 weight group: <c>s = fp16(absmax / 7)</c>, <c>q = clamp(rint(w / s), -8, 7)</c> with that rounded scale.
    /// </summary>
    /// <returns>The scale; 0 for a group of zeros, and for one whose scale fp16 cannot hold above 0.</returns>
    public static Half Int4Group(ReadOnlySpan<float> group, Span<sbyte> quantized)
    {
        var stored = (Half)(AbsoluteMaximum(group) / 7f);
        var scale = (float)stored;
        for (var i = 0; i < group.Length; i++)
            quantized[i] = scale == 0 ? (sbyte)0 : (sbyte)Math.Clamp(MathF.Round(group[i] / scale, MidpointRounding.ToEven), -8, 7);
        return stored;
    }

    /// <summary>
    /// An int4 weight group with a zero point: <c>s = fp16((max - min) / 15)</c> with <c>max >= 0 >= min</c>,
    /// <c>z = clamp(rint(-min / s), 0, 15)</c>, <c>q = clamp(rint(w / s) + z, 0, 15)</c>.
    /// </summary>
    /// <returns>Scale and zero point; both 0, and so every q, for a group whose scale fp16 cannot hold above 0.</returns>
    public static (Half Scale, int Zero) Int4GroupWithZero(ReadOnlySpan<float> group, Span<sbyte> quantized)
    {
        float low = 0, high = 0;
        foreach (var value in group)
            (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
        var stored = (Half)((high - low) / 15f);
        var scale = (float)stored;
        var zero = scale == 0 ? 0 : Math.Clamp(MathF.Round(-low / scale, MidpointRounding.ToEven), 0, 15);
        for (var i = 0; i < group.Length; i++)
            quantized[i] = scale == 0 ? (sbyte)0 : (sbyte)Math.Clamp(MathF.Round(group[i] / scale, MidpointRounding.ToEven) + zero, 0, 15);
        return (stored, (int)zero);
    }

    /// <summary>Elements that share a scale, and their number in a row: 0 means the row, rounded up to 32.</summary>
    public static (int Size, int Count) Groups(int rowLength, int groupSize)
    {
        var size = groupSize == 0 ? (rowLength + 31) / 32 * 32 : groupSize;
        return (size, (rowLength + size - 1) / size);
    }

    /// <summary>
    /// Packs a row of int4 weights: each run of 32 takes 16 bytes, byte j holds element j in its low and element j + 16 in its
    /// high nibble, both as <c>q + 8</c>.
    /// </summary>
    /// <param name="quantized">-8..7, padded with zeros to a whole number of groups.</param>
    /// <param name="packed">Half as many bytes.</param>
    public static void PackNibbles(ReadOnlySpan<sbyte> quantized, Span<byte> packed)
    {
        for (var run = 0; run < quantized.Length; run += 32)
        {
            for (var j = 0; j < 16; j++)
                packed[run / 2 + j] = (byte)((quantized[run + j] + 8) | ((quantized[run + j + 16] + 8) << 4));
        }
    }

    /// <summary>The inverse of <see cref="PackNibbles"/>.</summary>
    public static void UnpackNibbles(ReadOnlySpan<byte> packed, Span<int> quantized)
    {
        for (var run = 0; run < quantized.Length; run += 32)
        {
            for (var j = 0; j < 16; j++)
            {
                quantized[run + j] = (packed[run / 2 + j] & 15) - 8;
                quantized[run + j + 16] = (packed[run / 2 + j] >> 4) - 8;
            }
        }
    }

    /// <summary>Log2 quantizer of attention probabilities, 4 bits: <c>e = rint(-log2 p)</c>; <c>2^-e</c> if e is at most 15, else 0.</summary>
    public static float Log2Probability(float probability)
    {
        if (probability <= 0)
            return 0;
        var exponent = Math.Round(-Math.Log2(probability), MidpointRounding.ToEven); // fp64: exact beside the rounding edges
        return exponent <= 15 ? MathF.ScaleB(1, -(int)exponent) : 0;
    }

    /// <summary>Uniform quantizer of attention probabilities, 4 bits: <c>rint(p * 15) / 15</c>.</summary>
    public static float UniformProbability(float probability) => MathF.Round(probability * 15, MidpointRounding.ToEven) / 15;

    /// <summary>Largest magnitude; 0 for an empty row.</summary>
    private static float AbsoluteMaximum(ReadOnlySpan<float> row) => row.IsEmpty ? 0 : MathF.Abs(TensorPrimitives.MaxMagnitude(row));
}
