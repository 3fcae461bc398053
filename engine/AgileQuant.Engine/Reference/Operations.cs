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

    /// <summary>Of <c>scale * score</c>, in place, with the maximum subtracted.</summary>
    public static void Softmax(Span<float> scores, float scale)
    {
        var largest = TensorPrimitives.Max(scores) * scale;
        for (var i = 0; i < scores.Length; i++)
            scores[i] = Exp(scores[i] * scale - largest);
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

    /// <summary>One head of one token: <c>softmax(q . k / sqrt(d))</c>, optionally through the log2 quantizer, times v.</summary>
    /// <param name="query"><c>[d]</c></param>
    /// <param name="keys">One row of <c>[d]</c> for each position up to the token's own, read back from fp16.</param>
    /// <param name="values">As the keys; later positions may follow and are not read.</param>
    /// <param name="offset">Where the head begins in a row of keys or values.</param>
    /// <param name="log2Probabilities">Quantize the probabilities to powers of two (w4a4); they are not renormalized.</param>
    /// <param name="output"><c>[d]</c></param>
    public static void Attend(
        ReadOnlySpan<float> query, ReadOnlySpan<float[]> keys, float[][] values, int offset, bool log2Probabilities,
        Span<float> output)
    {
        var probabilities = new float[keys.Length];
        for (var t = 0; t < keys.Length; t++)
            probabilities[t] = Sums.Dot(query, keys[t].AsSpan(offset, query.Length));
        Softmax(probabilities, 1f / MathF.Sqrt(query.Length));
        if (log2Probabilities)
        {
            for (var t = 0; t < probabilities.Length; t++)
                probabilities[t] = Quantizers.Log2Probability(probabilities[t]);
        }

        var length = output.Length;
        Sums.Product(probabilities, t => values[t].AsSpan(offset, length), output);
    }

    /// <summary><c>gate / (1 + exp(-gate)) * up</c></summary>
    public static float[] SwiGlu(ReadOnlySpan<float> gate, ReadOnlySpan<float> up)
    {
        var y = new float[gate.Length];
        for (var i = 0; i < y.Length; i++)
            y[i] = gate[i] / (1f + Exp(-gate[i])) * up[i];
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
