using System.Numerics.Tensors;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>Everything between the linears, one formula each (docs/packed-model.md, "Numeric contract"). fp32 unless said otherwise.</summary>
public static class Operations
{
    /// <summary><c>x * w / sqrt(mean(x^2) + eps)</c></summary>
    public static float[] RmsNorm(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float epsilon)
    {
        var y = new float[x.Length];
        TensorPrimitives.Multiply(x, x, y);
        var inverse = 1f / MathF.Sqrt(Sums.InLanes(y) / x.Length + epsilon);
        for (var i = 0; i < y.Length; i++)
            y[i] = x[i] * inverse * weight[i];
        return y;
    }

    /// <summary><c>(x - mean) * (1 / sqrt(var + eps)) * w + b</c>, the variance over n.</summary>
    public static float[] LayerNorm(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, ReadOnlySpan<float> bias, float epsilon)
    {
        var mean = Sums.InLanes(x) / x.Length;
        var centred = new float[x.Length];
        var squares = new float[x.Length];
        TensorPrimitives.Subtract(x, mean, centred);
        TensorPrimitives.Multiply(centred, centred, squares);
        var inverse = 1f / MathF.Sqrt(Sums.InLanes(squares) / x.Length + epsilon);
        for (var i = 0; i < centred.Length; i++)
            centred[i] = centred[i] * inverse * weight[i] + bias[i];
        return centred;
    }

    /// <summary>Cosine and sine of <c>pos * base^(-2i/d) / factor[i]</c> for each pair, computed in fp64.</summary>
    /// <returns><c>[d / 2]</c></returns>
    public static (float Cosine, float Sine)[] RopeTable(int position, int headDimension, double ropeBase, ReadOnlySpan<float> factors)
    {
        var table = new (float, float)[headDimension / 2];
        for (var i = 0; i < table.Length; i++)
        {
            var angle = position * (Math.Pow(ropeBase, -2.0 * i / headDimension) / (factors.IsEmpty ? 1 : factors[i]));
            table[i] = ((float)Math.Cos(angle), (float)Math.Sin(angle));
        }

        return table;
    }

    /// <summary>Rotates neighbours (2i, 2i + 1) of every head.</summary>
    public static void Rope(Span<float> heads, ReadOnlySpan<(float Cosine, float Sine)> table)
    {
        for (var start = 0; start < heads.Length; start += 2 * table.Length)
        {
            for (var i = 0; i < table.Length; i++)
            {
                var (a, b) = (heads[start + 2 * i], heads[start + 2 * i + 1]);
                heads[start + 2 * i] = a * table[i].Cosine - b * table[i].Sine;
                heads[start + 2 * i + 1] = a * table[i].Sine + b * table[i].Cosine;
            }
        }
    }

    /// <summary>In place, with the maximum subtracted.</summary>
    public static void Softmax(Span<float> scores)
    {
        var largest = TensorPrimitives.Max(scores);
        for (var i = 0; i < scores.Length; i++)
            scores[i] = Exp(scores[i] - largest);
        var sum = Sums.InLanes(scores);
        for (var i = 0; i < scores.Length; i++)
            scores[i] /= sum;
    }

    /// <summary>
    /// e^x in fp32, the same bits everywhere and within 2 units in the last place: <c>x = n ln 2 + r</c> with n an integer, ln 2
    /// in two parts, Taylor's polynomial of degree 7 for e^r; 0 below -87, e^88 above 88.
    /// </summary>
    public static float Exp(float x)
    {
        if (float.IsNaN(x) || x < -87)
            return float.IsNaN(x) ? x : 0;
        x = MathF.Min(x, 88);
        var n = MathF.Round(x * 1.44269504f, MidpointRounding.ToEven);
        var r = x - n * 0.693359375f - n * -2.12194440e-4f;
        var p = 1f / 5040;
        foreach (var coefficient in (ReadOnlySpan<float>)[1f / 720, 1f / 120, 1f / 24, 1f / 6, 0.5f, 1, 1])
            p = p * r + coefficient;
        return p * BitConverter.Int32BitsToSingle(((int)n + 127) << 23);
    }

    /// <summary><c>gate / (1 + exp(-gate)) * up</c></summary>
    public static float[] SwiGlu(ReadOnlySpan<float> gate, ReadOnlySpan<float> up)
    {
        var y = new float[gate.Length];
        for (var i = 0; i < y.Length; i++)
            y[i] = gate[i] / (1f + Exp(-gate[i])) * up[i];
        return y;
    }

    /// <summary><c>max(x, 0)</c></summary>
    public static float[] Relu(ReadOnlySpan<float> x)
    {
        var y = new float[x.Length];
        TensorPrimitives.Max(x, 0f, y);
        return y;
    }

    /// <summary>tanh form: <c>x / (1 + exp(-2u))</c>, <c>u = 0.79788456 * x * (1 + 0.044715 * x * x)</c>.</summary>
    public static float[] Gelu(ReadOnlySpan<float> x)
    {
        var y = new float[x.Length];
        for (var i = 0; i < y.Length; i++)
        {
            var u = 0.79788456f * x[i] * (1f + 0.044715f * x[i] * x[i]);
            y[i] = x[i] / (1f + Exp(-2f * u));
        }

        return y;
    }

    /// <summary>What a fp16 KV cache keeps: rounded to fp16, widened when read.</summary>
    public static void RoundToHalf(Span<float> values)
    {
        for (var i = 0; i < values.Length; i++)
            values[i] = (float)(Half)values[i];
    }

    /// <summary>What an int8 KV cache keeps of one head: <c>fp16(s * q)</c> of the activation quantizer's s and q.</summary>
    public static void RoundToInt8(Span<float> head)
    {
        var quantized = new int[head.Length];
        var scale = Quantizers.Activations(head, 8, quantized);
        for (var i = 0; i < head.Length; i++)
            head[i] = (float)(Half)(scale * quantized[i]);
    }

    /// <summary>Rounded to bf16, half to even, and widened.</summary>
    public static void RoundToBrain(Span<float> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            var bits = BitConverter.SingleToUInt32Bits(values[i]);
            if (float.IsFinite(values[i]))
                values[i] = BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
        }
    }

    /// <summary><c>log(sum(exp(l - max))) + max - l[target]</c>, fp64, natural logarithm, stored as fp32.</summary>
    public static float NegativeLogLikelihood(ReadOnlySpan<float> logits, int target)
    {
        double largest = TensorPrimitives.Max(logits);
        double sum = 0;
        foreach (var logit in logits)
            sum += Math.Exp(logit - largest);
        return (float)(Math.Log(sum) + largest - logits[target]);
    }
}
