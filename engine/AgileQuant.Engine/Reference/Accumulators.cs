using System.Numerics.Tensors;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>The int32 accumulators that every native kernel must reproduce exactly.</summary>
public static class Accumulators
{
    /// <summary>
    /// Sum of products of two integer rows. With at most 131,072 products of 127 * 127 it stays below 2^31
    /// (131072 * 16129 = 2,114,060,288).
    /// </summary>
    public static int Row(ReadOnlySpan<int> activations, ReadOnlySpan<int> weights) => TensorPrimitives.Dot(activations, weights);

    /// <summary>int8 weights as a pack stores them.</summary>
    /// <param name="activations"><c>[m][k]</c></param>
    /// <param name="weights"><c>[n][k]</c></param>
    /// <returns><c>[m][n]</c></returns>
    public static int[] Int8(ReadOnlySpan<sbyte> activations, ReadOnlySpan<sbyte> weights, int m, int n, int k)
    {
        var result = new int[m * n];
        for (var row = 0; row < m; row++)
        {
            for (var o = 0; o < n; o++)
            {
                var sum = 0;
                for (var i = 0; i < k; i++)
                    sum += activations[row * k + i] * weights[o * k + i];
                result[row * n + o] = sum;
            }
        }

        return result;
    }

    /// <summary>int4 weights as a pack stores them.</summary>
    /// <param name="activations"><c>[m][k]</c></param>
    /// <param name="nibbles"><c>[n][padded / 2]</c></param>
    /// <param name="groupSize">32, 64, 128, or 0 for the row rounded up to 32.</param>
    /// <returns><c>[m][n][groups]</c></returns>
    public static int[] Int4(ReadOnlySpan<sbyte> activations, ReadOnlySpan<byte> nibbles, int m, int n, int k, int groupSize)
    {
        var (size, groups) = Quantizers.Groups(k, groupSize);
        var weights = new int[n * size * groups];
        Quantizers.UnpackNibbles(nibbles, weights);
        var result = new int[m * n * groups];
        for (var row = 0; row < m; row++)
        {
            for (var o = 0; o < n; o++)
            {
                for (var i = 0; i < k; i++)
                    result[(row * n + o) * groups + i / size] += activations[row * k + i] * weights[o * size * groups + i];
            }
        }

        return result;
    }
}
