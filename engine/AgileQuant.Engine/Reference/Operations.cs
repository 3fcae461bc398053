using System.Numerics.Tensors;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>Everything between the linears, one formula each (docs/packed-model.md, "Numeric contract"). fp32 unless said otherwise.</summary>
public static class Operations
{
    /// <summary><c>x * w / sqrt(mean(x^2) + eps)</c></summary>
    public static float[] RmsNorm(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float epsilon)
    {
        var inverse = 1f / MathF.Sqrt(TensorPrimitives.SumOfSquares(x) / x.Length + epsilon);
        var y = new float[x.Length];
        for (var i = 0; i < y.Length; i++)
            y[i] = x[i] * inverse * weight[i];
        return y;
    }

    /// <summary>Cosine and sine of <c>pos * base^(-2i/d) / factor[i]</c> for each pair, computed in fp64.</summary>
    /// <returns><c>[d / 2]</c></returns>
    public static (float Cosine, float Sine)[] RopeTable(int position, int headDimension, double ropeBase, ReadOnlySpan<float> factors)
    {
        var table = new (float, float)[headDimension / 2];
        for (var i = 0; i < table.Length; i++)
        {
            var angle = position * Math.Pow(ropeBase, -2.0 * i / headDimension) / (factors.IsEmpty ? 1 : factors[i]);
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
        float sum = 0;
        for (var i = 0; i < scores.Length; i++)
        {
            scores[i] = MathF.Exp(scores[i] - largest);
            sum += scores[i];
        }

        for (var i = 0; i < scores.Length; i++)
            scores[i] /= sum;
    }

    /// <summary>One head of one token: <c>softmax(q . k / sqrt(d))</c>, optionally through the log2 quantizer, times v.</summary>
    /// <param name="query"><c>[d]</c></param>
    /// <param name="keys">One row of <c>[d]</c> for each position up to the token's own, read back from fp16.</param>
    /// <param name="values">As the keys.</param>
    /// <param name="log2Probabilities">Quantize the probabilities to powers of two (w4a4); they are not renormalized.</param>
    /// <param name="output"><c>[d]</c></param>
    public static void Attend(
        ReadOnlySpan<float> query, ReadOnlySpan<float[]> keys, ReadOnlySpan<float[]> values, int offset, bool log2Probabilities,
        Span<float> output)
    {
        var probabilities = new float[keys.Length];
        for (var t = 0; t < keys.Length; t++)
            probabilities[t] = TensorPrimitives.Dot(query, keys[t].AsSpan(offset, query.Length)) / MathF.Sqrt(query.Length);
        Softmax(probabilities);
        output.Clear();
        for (var t = 0; t < values.Length; t++)
        {
            var p = log2Probabilities ? Quantizers.Log2Probability(probabilities[t]) : probabilities[t];
            for (var i = 0; i < output.Length; i++)
                output[i] += p * values[t][offset + i];
        }
    }

    /// <summary><c>gate / (1 + exp(-gate)) * up</c></summary>
    public static float[] SwiGlu(ReadOnlySpan<float> gate, ReadOnlySpan<float> up)
    {
        var y = new float[gate.Length];
        for (var i = 0; i < y.Length; i++)
            y[i] = gate[i] / (1f + MathF.Exp(-gate[i])) * up[i];
        return y;
    }

    /// <summary>What the KV cache keeps: rounded to fp16, widened when read.</summary>
    public static void RoundToHalf(Span<float> values)
    {
        for (var i = 0; i < values.Length; i++)
            values[i] = (float)(Half)values[i];
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
