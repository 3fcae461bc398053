using System.Numerics.Tensors;

namespace AgileQuant.Engine.Quantization;

/// <summary>How the weights of a linear are stored: int8 rows, or int4 groups with or without zero points.</summary>
/// <param name="Bits">8 or 4.</param>
/// <param name="GroupSize">int4: 32, 64, 128, or 0 for the row.</param>
/// <param name="HasZeros">int4: values 0..15 with a zero point a group.</param>
internal readonly record struct WeightFormat(int Bits, int GroupSize, bool HasZeros)
{
    public int Lowest => HasZeros ? 0 : Bits == 8 ? -127 : -8;

    public int Highest => HasZeros ? 15 : Bits == 8 ? 127 : 7;

    /// <summary>Elements that share a scale, and such groups in a row; an int8 row is one group.</summary>
    public (int Size, int Count) Groups(int inputs) => Bits == 8 ? (inputs, 1) : Quantizers.Groups(inputs, GroupSize);

    /// <summary>Scale (and zero point) of a group as the plain recipe has them (docs/packed-model.md).</summary>
    public (float Scale, int Zero) Plain(ReadOnlySpan<float> group)
    {
        var scratch = new sbyte[group.Length];
        if (Bits == 8)
            return (Quantizers.Int8Row(group, scratch), 0);
        if (!HasZeros)
            return ((float)Quantizers.Int4Group(group, scratch), 0);
        var (scale, zero) = Quantizers.Int4GroupWithZero(group, scratch);
        return ((float)scale, zero);
    }

    /// <summary>
    /// Of the plain scale and of scales up to 45% smaller (which clip the largest weights) the one with the least
    /// <c>sum of h (w - dequantized)^2</c>; without zero points also negative ones, for which the range is -7..8.
    /// </summary>
    /// <param name="group">Weights.</param>
    /// <param name="importance">h of each: the diagonal of the Hessian.</param>
    public (float Scale, int Zero) Search(ReadOnlySpan<float> group, ReadOnlySpan<float> importance)
    {
        var best = Plain(group);
        if (Bits == 8 || best.Scale == 0)
            return best;
        var (low, high) = (Math.Min(0, TensorPrimitives.Min(group)), Math.Max(0, TensorPrimitives.Max(group)));
        var least = Error(group, importance, best.Scale, best.Zero);
        for (var step = 0; step <= 22; step++)
        {
            foreach (var (scale, zero) in CandidatesOf(low, high, 1.1f - 0.025f * step))
            {
                if (scale == 0 || !float.IsFinite(scale))
                    continue;
                var error = Error(group, importance, scale, zero);
                if (error < least)
                    (least, best) = (error, (scale, zero));
            }
        }

        return best;
    }

    private (float Scale, int Zero)[] CandidatesOf(float low, float high, float share)
    {
        if (!HasZeros)
        {
            var symmetric = (float)(Half)(Math.Max(high, -low) * share / 7f);
            return [(symmetric, 0), (-symmetric, 0)];
        }

        var scale = (float)(Half)((high - low) * share / 15f);
        if (scale == 0)
            return [];
        var zero = (-low - (1 - share) * (high - low) / 2) / scale; // the range is cut alike on both sides
        return [(scale, (int)Math.Clamp(MathF.Floor(zero), 0, 15)), (scale, (int)Math.Clamp(MathF.Ceiling(zero), 0, 15))];
    }

    /// <summary>The stored integer of a weight.</summary>
    public int Round(float weight, float scale, int zero) =>
        scale == 0 ? zero : (int)Math.Clamp(MathF.Round(weight / scale, MidpointRounding.ToEven) + zero, Lowest, Highest);

    private double Error(ReadOnlySpan<float> group, ReadOnlySpan<float> importance, float scale, int zero)
    {
        double sum = 0;
        var inverse = 1 / scale;
        float lowest = Lowest - zero, highest = Highest - zero;
        for (var i = 0; i < group.Length; i++)
        {
            var difference = group[i] - Math.Clamp(MathF.Round(group[i] * inverse), lowest, highest) * scale;
            sum += importance[i] * difference * difference;
        }

        return sum;
    }
}
