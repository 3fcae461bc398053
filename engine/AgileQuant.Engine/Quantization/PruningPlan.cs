namespace AgileQuant.Engine.Quantization;

/// <summary>Where tokens leave (Agile-Quant, "token pruning"): progressively, in the deeper half of the layers.</summary>
public static class PruningPlan
{
    /// <summary>First layer after whose attention tokens may leave: attention is still local in the layers before.</summary>
    public static int FirstLayer(int layers) => layers / 2;

    /// <summary>
    /// The paper's shares: each of the m pruning layers removes <c>1 - (1 - ratio)^(1/m)</c> of what is left, so that
    /// <paramref name="ratio"/> of the rows has left after the last.
    /// </summary>
    /// <returns><c>[layers]</c>, share of the rows that stay after a layer's attention; 1 where none leaves.</returns>
    public static float[] KeepShares(int layers, double ratio)
    {
        var first = FirstLayer(layers);
        var keep = (float)Math.Pow(1 - ratio, 1.0 / (layers - first));
        return [.. Enumerable.Range(0, layers).Select(l => l < first ? 1 : keep)];
    }
}
