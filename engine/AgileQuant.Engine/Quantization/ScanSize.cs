using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Quantization;

/// <summary>How much a search measures: all of it on small models, on large ones as much as about a quarter of an hour on two cores allows.</summary>
/// <param name="LayersTogether">Neighbouring layers whose inputs are raised together.</param>
/// <param name="Windows">Calibration windows that are scored.</param>
/// <param name="Context">Ids of each, at most.</param>
internal sealed record ScanSize(int LayersTogether, int Windows, int Context)
{
    /// <summary>Multiply-adds that one search may take, linears and output head; counted, not timed, so that the same model always gives the same pack.</summary>
    public const double MostWork = 4e13;

    private const int FewestBlocks = 4; // coarser than that, a group is worth more than the whole budget of mixed
    private const int WindowsOfOneLayer = 4; // fewer tell layers apart no better than putting neighbours together does
    private const int FewestWindows = 2;

    /// <summary>For the scan of <c>mixed</c>: down to 4 windows are left out first, then layers are put together, then windows are left out again.</summary>
    /// <param name="shape">Of the model.</param>
    /// <param name="windows">That are wanted.</param>
    /// <param name="context">Ids of a window.</param>
    public static ScanSize ForMixed(ModelShape shape, int windows, int context)
    {
        var together = 1;
        while (Work(shape, together, windows, context) > MostWork && windows > WindowsOfOneLayer)
            windows--;
        while (Work(shape, together, windows, context) > MostWork && (shape.Layers + together) / (together + 1) >= FewestBlocks)
            together++;
        while (Work(shape, together, windows, context) > MostWork && windows > FewestWindows)
            windows--;
        return new ScanSize(together, windows, context);
    }

    /// <summary>Windows for a search that goes through the model so many times.</summary>
    public static int WindowsFor(ModelShape shape, int windows, int context, double passes)
    {
        while (windows > FewestWindows && windows * (double)context * (1 + passes) * PerToken(shape) > MostWork)
            windows--;
        return windows;
    }

    private static double Work(ModelShape shape, int together, int windows, int context)
    {
        var starts = Enumerable.Range(0, shape.Layers).Where(l => l % together == 0).ToList();
        var passes = LayerCosts.Of(shape).Length * starts.Sum(first => (double)(shape.Layers - first) / shape.Layers);
        var heads = (double)LayerCosts.Of(shape).Length * starts.Count * shape.VocabularySize * shape.Dimension;
        return windows * (double)context * ((1 + passes) * PerToken(shape) + heads);
    }

    private static double PerToken(ModelShape shape) => shape.Layers * LayerCosts.Of(shape).Sum();
}
