using System.Numerics.Tensors;

namespace AgileQuant.Engine.Reference;

/// <summary>
/// fp32 sums in the order that docs/packed-model.md fixes ("Order of additions"), so that every processor and every instruction
/// set gives the same bits.
/// </summary>
public static class Sums
{
    private const int Lanes = 16;
    private const int Block = 256;

    /// <summary>One row of a product: a weight for every output.</summary>
    public delegate ReadOnlySpan<float> Column(int input);

    /// <summary>
    /// <c>y[o] = sum of x[i] * w[i][o]</c>: inputs in blocks of 256, in each block one chain of fused multiply-adds from zero in
    /// ascending order, then the blocks' sums added in ascending order.
    /// </summary>
    public static void Product(ReadOnlySpan<float> x, Column column, Span<float> y)
    {
        y.Clear();
        var chain = new float[y.Length];
        for (var start = 0; start < x.Length; start += Block)
        {
            Array.Clear(chain);
            for (var i = start; i < Math.Min(start + Block, x.Length); i++)
                TensorPrimitives.FusedMultiplyAdd(column(i), x[i], chain, chain);
            TensorPrimitives.Add(y, chain, y);
        }
    }

    /// <summary><see cref="Product"/> with one output.</summary>
    public static float Dot(ReadOnlySpan<float> x, ReadOnlySpan<float> weights)
    {
        float sum = 0;
        for (var start = 0; start < x.Length; start += Block)
        {
            float chain = 0;
            for (var i = start; i < Math.Min(start + Block, x.Length); i++)
                chain = MathF.FusedMultiplyAdd(x[i], weights[i], chain);
            sum += chain;
        }

        return sum;
    }

    /// <summary>Plain sum: element i goes to lane i mod 16; then lane l takes lane l + 8, l + 4, l + 2, l + 1.</summary>
    public static float InLanes(ReadOnlySpan<float> values)
    {
        Span<float> lane = stackalloc float[Lanes];
        lane.Clear();
        for (var i = 0; i < values.Length; i++)
            lane[i % Lanes] += values[i];
        for (var width = Lanes / 2; width > 0; width /= 2)
        {
            for (var l = 0; l < width; l++)
                lane[l] += lane[l + width];
        }

        return lane[0];
    }
}
