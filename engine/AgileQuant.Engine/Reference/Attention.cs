using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>Attention of one head of one token, over the keys and values of its layer.</summary>
public static class Attention
{
    /// <summary>
    /// <c>softmax(q . k / sqrt(d) + slope * (key position - query position))</c> through the quantizer of probabilities, times v.
    /// </summary>
    /// <param name="query"><c>[d]</c></param>
    /// <param name="keys">One row for each cache entry up to the token's own, read back from the cache.</param>
    /// <param name="values">As the keys; later entries may follow and are not read.</param>
    /// <param name="offset">Where the head begins in a row of keys or values.</param>
    /// <param name="distances">Key position minus query position of each entry; read where the slope is not 0.</param>
    /// <param name="slope">ALiBi's for this head; 0: none.</param>
    /// <param name="kind">How probabilities are quantized; they are not renormalized.</param>
    /// <param name="output"><c>[d]</c></param>
    /// <returns>The (quantized) probability of the first entry.</returns>
    public static float Attend(
        ReadOnlySpan<float> query, ReadOnlySpan<float[]> keys, float[][] values, int offset, ReadOnlySpan<int> distances,
        float slope, ProbabilityFormat kind, Span<float> output)
    {
        var scale = 1f / MathF.Sqrt(query.Length);
        var probabilities = new float[keys.Length];
        for (var t = 0; t < keys.Length; t++)
        {
            probabilities[t] = Sums.Dot(query, keys[t].AsSpan(offset, query.Length)) * scale;
            if (slope != 0)
                probabilities[t] += slope * distances[t];
        }

        Operations.Softmax(probabilities);
        for (var t = 0; t < probabilities.Length; t++)
            probabilities[t] = Quantized(probabilities[t], kind);
        var length = output.Length;
        Sums.Product(probabilities, t => values[t].AsSpan(offset, length), output);
        return probabilities[0];
    }

    /// <summary>
    /// ALiBi's slopes. With n the largest power of 2 not above the heads: <c>2^(-8 (h + 1) / n)</c> for h below n, else
    /// <c>2^(-4 (2 (h - n) + 1) / n)</c>.
    /// </summary>
    public static float[] AlibiSlopes(int heads)
    {
        var n = 1 << (int)Math.Log2(heads);
        return [.. Enumerable.Range(0, heads).Select(h =>
            (float)Math.Pow(2, h < n ? -8.0 * (h + 1) / n : -4.0 * (2 * (h - n) + 1) / n))];
    }

    private static float Quantized(float probability, ProbabilityFormat kind) => kind switch
    {
        ProbabilityFormat.Log2 => Quantizers.Log2Probability(probability),
        ProbabilityFormat.Uniform => MathF.Round(probability * 15, MidpointRounding.ToEven) / 15,
        _ => probability,
    };
}
