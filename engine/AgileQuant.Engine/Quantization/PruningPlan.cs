using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Quantization;

/// <summary>Where tokens leave (Agile-Quant, "token pruning"): progressively, in a run of deeper layers.</summary>
public static class PruningPlan
{
    /// <summary>First layer after whose attention tokens leave when nothing was measured: attention is still local in the layers before.</summary>
    public static int FirstLayer(int layers) => layers / 2;

    /// <summary>The shares without a measurement: the deeper half prunes.</summary>
    /// <returns><c>[layers]</c>, share of the rows that stay after a layer's attention; 1 where none leaves.</returns>
    public static float[] KeepShares(int layers, double ratio) => KeepShares(layers, ratio, FirstLayer(layers), layers - FirstLayer(layers));

    /// <summary>
    /// The paper's shares: each of the m = <paramref name="count"/> layers from <paramref name="first"/> on removes
    /// <c>1 - (1 - ratio)^(1/m)</c> of what is left, so that <paramref name="ratio"/> of the rows has left after the last of them.
    /// </summary>
    /// <returns><c>[layers]</c>, share of the rows that stay after a layer's attention; 1 where none leaves.</returns>
    public static float[] KeepShares(int layers, double ratio, int first, int count)
    {
        var keep = (float)Math.Pow(1 - ratio, 1.0 / count);
        return [.. Enumerable.Range(0, layers).Select(l => l < first || l >= first + count ? 1 : keep)];
    }

    /// <summary>
    /// Runs of 1, 2, 4, ... and all layers that save no less work than the deeper half does: of each length the one that begins latest, and
    /// one a little (a quarter of the layers before it) earlier. Fewer savings would always lose less, so they do not compete.
    /// </summary>
    /// <returns>First layer and number of layers, without doubles; the deeper half first.</returns>
    internal static IReadOnlyList<(int First, int Count)> Candidates(ModelShape shape, double ratio)
    {
        var layers = shape.Layers;
        var half = (First: FirstLayer(layers), Count: layers - FirstLayer(layers));
        var most = Work(half.First, half.Count) + 1e-9;
        var found = new List<(int First, int Count)> { half };
        for (var count = 1; ; count = Math.Min(2 * count, layers))
        {
            var latest = Enumerable.Range(0, layers - count + 1).Reverse().Select(f => (int?)f).FirstOrDefault(f => Work(f!.Value, count) <= most);
            if (latest is { } first)
                found.AddRange([(first, count), (first - (first + 3) / 4, count)]);
            if (count == layers)
                return [.. found.Distinct()];
        }

        double Work(int first, int count) => new TokenPlan(new float[layers], KeepShares(layers, ratio, first, count)).Work(shape);
    }
}
