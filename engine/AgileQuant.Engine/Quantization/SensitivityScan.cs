using AgileQuant.Engine.Calibration;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Quantization;

/// <summary>
/// Which linear inputs <c>mixed</c> keeps at 8-bit activations: those whose 4-bit quantization costs most NLL on the calibration text for
/// their share of the multiply-adds. Each is raised to 8 bits alone, all others staying at 4; in large models together with the same
/// input of neighbouring layers (<see cref="ScanSize"/>).
/// </summary>
internal static class SensitivityScan
{
    /// <summary>Share of the layers' multiply-adds that may have 8-bit activations.</summary>
    public const double Budget = 0.15;

    private const int Windows = 16;

    /// <param name="model">The canonical model.</param>
    /// <param name="recipe">With <c>mixed</c>.</param>
    /// <param name="windows">Calibration windows; a few are used.</param>
    /// <param name="options">Of the probes: how inputs are quantized.</param>
    /// <param name="progress">Share of the inputs that is measured.</param>
    /// <param name="cancellation">Stops between layers.</param>
    /// <returns>Layer and place of each input to keep, in file order, and how it was measured.</returns>
    public static (IReadOnlyList<(int Layer, int Place)> Kept, ScanSize Size) Choose(
        ModelWeights model, PackRecipe recipe, int[][] windows, CalibratorOptions options, IProgress<double>? progress, CancellationToken cancellation)
    {
        var shape = model.Shape;
        var size = ScanSize.ForMixed(shape, Math.Min(Windows, windows.Length), windows[0].Length);
        var groups = Groups(shape, size.LayersTogether);
        var variants = groups.Select(g => (g[0].Layer, options with { Kept = g })).Append((shape.Layers, options));
        var nlls = new Probe(model, recipe, Probe.Few(windows, size.Windows, size.Context), options).Measure([.. variants], progress, cancellation);
        var costs = LayerCosts.Of(shape);
        var gains = groups.Select((g, i) => (g, nlls[^1] - nlls[i], g.Sum(input => costs[input.Place])));
        return (Pick(gains, Budget * shape.Layers * costs.Sum()), size);
    }

    /// <summary>The most gain for its cost first, as long as it fits; nothing that gains nothing.</summary>
    internal static IReadOnlyList<(int Layer, int Place)> Pick(
        IEnumerable<(IReadOnlyList<(int Layer, int Place)> Group, double Gain, double Cost)> groups, double budget)
    {
        var kept = new List<(int Layer, int Place)>();
        foreach (var (group, _, cost) in groups.Where(g => g.Gain > 0).OrderByDescending(g => g.Gain / g.Cost).ThenBy(g => g.Group[0]))
        {
            if (cost > budget)
                continue;
            budget -= cost;
            kept.AddRange(group);
        }

        return [.. kept.Order()];
    }

    /// <summary>Each input of so many neighbouring layers, in file order.</summary>
    internal static IReadOnlyList<IReadOnlyList<(int Layer, int Place)>> Groups(ModelShape shape, int together) =>
    [
        .. from first in Enumerable.Range(0, shape.Layers).Where(l => l % together == 0)
           from place in Enumerable.Range(0, QuantizationPlan.InputNames.Length)
           select Enumerable.Range(first, Math.Min(together, shape.Layers - first)).Select(layer => (layer, place)).ToList(),
    ];
}
