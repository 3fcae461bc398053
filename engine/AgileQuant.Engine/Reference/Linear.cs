using System.Numerics.Tensors;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>A matrix product as a precision defines it. Weights are <c>[out][in]</c>.</summary>
public abstract class Linear
{
    public required int Inputs { get; init; }

    public required int Outputs { get; init; }

    /// <param name="x">One token, <see cref="Inputs"/> values.</param>
    /// <returns><see cref="Outputs"/> values.</returns>
    public abstract float[] Apply(ReadOnlySpan<float> x);

    /// <summary>Reads <c>name.weight</c> and its scale; <paramref name="activationBits"/> is used by the integer forms.</summary>
    internal static Linear Load(GgufFile pack, string name, int inputs, int outputs, int weightBits, int activationBits, int groupSize)
    {
        var weight = pack.Tensor(name + ".weight");
        // A model that is not packed has its weights in the type it came in; the arithmetic is the same.
        var wide = pack.Metadata.Contains("agilequant.format") ? TensorType.F16 : weight.Type;
        Expect(pack, weight, weightBits switch
        {
            16 => (wide, [inputs, outputs]),
            8 => (TensorType.I8, [inputs, outputs]),
            _ => (TensorType.I8, [Quantizers.Groups(inputs, groupSize).Size * Quantizers.Groups(inputs, groupSize).Count / 2, outputs]),
        });
        if (weightBits == 16)
            return HalfLinear.FromRows(pack.ReadFloats(weight), inputs, outputs);

        var scale = pack.Tensor(name + ".scale");
        if (weightBits == 8)
        {
            Expect(pack, scale, (TensorType.F32, [outputs]));
            return new Int8Linear
            {
                Inputs = inputs,
                Outputs = outputs,
                ActivationBits = activationBits,
                Weights = Array.ConvertAll(pack.ReadBytes(weight), b => (int)(sbyte)b),
                Scales = pack.ReadFloats(scale),
            };
        }

        var groups = Quantizers.Groups(inputs, groupSize);
        Expect(pack, scale, (TensorType.F16, [groups.Count, outputs]));
        var bytes = pack.ReadBytes(weight);
        var weights = new int[bytes.Length * 2];
        Quantizers.UnpackNibbles(bytes, weights);
        return new Int4Linear
        {
            Inputs = inputs,
            Outputs = outputs,
            ActivationBits = activationBits,
            GroupSize = groups.Size,
            Groups = groups.Count,
            Weights = weights,
            Scales = pack.ReadFloats(scale),
        };
    }

    private static void Expect(GgufFile pack, GgufTensor tensor, (TensorType Type, long[] Dimensions) expected)
    {
        if (tensor.Type != expected.Type || !tensor.Dimensions.SequenceEqual(expected.Dimensions))
        {
            throw new ModelFormatException($"{pack.Path}: tensor {tensor.Name} is {tensor.Type} [{string.Join(", ", tensor.Dimensions)}], "
                + $"{expected.Type} [{string.Join(", ", expected.Dimensions)}] was expected");
        }
    }
}

/// <summary>fp16 weights widened to fp32, fp32 arithmetic, additions in the order of <see cref="Sums.Product"/>.</summary>
public sealed class HalfLinear : Linear
{
    /// <summary><c>[in][out]</c>, widened: all outputs of one input lie together.</summary>
    public required float[] Columns { get; init; }

    /// <param name="rows"><c>[out][in]</c>, as a pack stores them.</param>
    public static HalfLinear FromRows(float[] rows, int inputs, int outputs)
    {
        var columns = new float[rows.Length];
        Parallel.For(0, inputs, i =>
        {
            for (var o = 0; o < outputs; o++)
                columns[i * outputs + o] = rows[o * inputs + i];
        });
        return new HalfLinear { Inputs = inputs, Outputs = outputs, Columns = columns };
    }

    public override float[] Apply(ReadOnlySpan<float> x)
    {
        var y = new float[Outputs];
        Sums.Product(x, i => Columns.AsSpan(i * Outputs, Outputs), y);
        return y;
    }
}

/// <summary><c>y = s_x * (s_w * (float)acc)</c></summary>
public sealed class Int8Linear : Linear
{
    public required int ActivationBits { get; init; }

    /// <summary><c>[out][in]</c>, -127..127.</summary>
    public required int[] Weights { get; init; }

    /// <summary><c>[out]</c></summary>
    public required float[] Scales { get; init; }

    public override float[] Apply(ReadOnlySpan<float> x)
    {
        var quantized = new int[Inputs];
        var scale = Quantizers.Activations(x, ActivationBits, quantized);
        var y = new float[Outputs];
        for (var o = 0; o < Outputs; o++)
            y[o] = scale * (Scales[o] * Accumulators.Row(quantized, Weights.AsSpan(o * Inputs, Inputs)));
        return y;
    }
}

/// <summary><c>y = s_x * sum over groups, ascending, of s_w[g] * (float)acc[g]</c>, fp32.</summary>
public sealed class Int4Linear : Linear
{
    public required int ActivationBits { get; init; }

    /// <summary>Elements that share a scale.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Scales a row.</summary>
    public required int Groups { get; init; }

    /// <summary><c>[out][groups * group size]</c>, -8..7, padded with zeros.</summary>
    public required int[] Weights { get; init; }

    /// <summary><c>[out][groups]</c>, fp16 values widened.</summary>
    public required float[] Scales { get; init; }

    public override float[] Apply(ReadOnlySpan<float> x)
    {
        var quantized = new int[Groups * GroupSize]; // padding stays 0
        var scale = Quantizers.Activations(x, ActivationBits, quantized.AsSpan(0, Inputs));
        var y = new float[Outputs];
        for (var o = 0; o < Outputs; o++)
        {
            float sum = 0;
            for (var g = 0; g < Groups; g++)
            {
                var weights = Weights.AsSpan((o * Groups + g) * GroupSize, GroupSize);
                sum += Scales[o * Groups + g] * Accumulators.Row(quantized.AsSpan(g * GroupSize, GroupSize), weights);
            }

            y[o] = scale * sum;
        }

        return y;
    }
}

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
