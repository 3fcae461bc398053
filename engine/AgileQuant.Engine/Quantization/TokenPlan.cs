using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Quantization;

/// <summary>How many tokens shall carry 4-bit activations and how many shall stay, layer by layer.</summary>
/// <param name="LowShares"><c>[layers]</c>, share of the rows that carry 4-bit activations; never falls, for tokens stay low.</param>
/// <param name="KeepShares"><c>[layers]</c>, share of the rows that stay after a layer's attention; 1: none leaves.</param>
internal sealed record TokenPlan(float[] LowShares, float[] KeepShares)
{
    /// <summary>Without measuring: the wanted share low from the first layer on, pruning in the deeper half.</summary>
    public static TokenPlan Plain(int layers, PrecisionOptions options) => new(
        [.. Enumerable.Repeat((float)options.LowRatio, layers)], PruningPlan.KeepShares(layers, (double)options.PruneRatio));

    /// <summary>Share of all tokens that shall be left after a layer.</summary>
    public double LeftAfter(int layer) => KeepShares.Take(layer + 1).Aggregate(1.0, (left, keep) => left * keep);

    /// <summary>Layers after whose attention tokens leave.</summary>
    public IReadOnlyList<int> PruningLayers => [.. Enumerable.Range(0, KeepShares.Length).Where(l => KeepShares[l] < 1)];

    /// <summary>First layer that differs from a plan in which all tokens stay and none is low.</summary>
    public int FirstLayer => Enumerable.Range(0, KeepShares.Length).FirstOrDefault(l => KeepShares[l] < 1 || LowShares[l] > 0, KeepShares.Length);

    /// <summary>Share of the multiply-adds of a prompt's linears that is left: a token leaves between attention and feed-forward.</summary>
    public double Work(ModelShape shape)
    {
        var costs = LayerCosts.Of(shape);
        double work = 0, left = 1;
        foreach (var keep in KeepShares)
        {
            work += left * (costs[0] + costs[1]);
            left *= keep;
            work += left * (costs[2] + costs[3]);
        }

        return work / (KeepShares.Length * costs.Sum());
    }
}

/// <summary>Multiply-adds a token behind each input of a layer.</summary>
internal static class LayerCosts
{
    /// <returns>By place: <c>attn_in, attn_out, ffn_in, ffn_mid</c>.</returns>
    public static double[] Of(ModelShape shape)
    {
        double dim = shape.Dimension, kv = (double)shape.KvHeads * shape.HeadDimension, ffn = shape.FeedForward;
        return [dim * (dim + 2 * kv), dim * dim, dim * ffn * (shape.Activation == ActivationKind.SwiGlu ? 2 : 1), ffn * dim];
    }
}
