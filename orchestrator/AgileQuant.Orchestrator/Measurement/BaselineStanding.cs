using System.Globalization;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>The one place that words how our fp16 stands against the best public engine. Pure.</summary>
public static class BaselineStanding
{
    /// <summary>At least this share of the better engine's speed, in prefill and in generation, counts as level: the spread of both figures.</summary>
    public const double LevelFrom = 0.98;

    /// <param name="isa">Kernel set of the runs.</param>
    /// <param name="comparison">What was recorded for it; null: nothing.</param>
    public static BaselineNote Of(string isa, EngineComparison? comparison)
    {
        if (comparison?.Ratios.GetValueOrDefault("fp16") is not { Prefill: { } prefill, Generation: { } generation } fp16)
        {
            return new BaselineNote(isa, false,
                $"Speedups are over our own fp16, which was not compared on this kind of machine ({isa}) with the best public engine: "
                + "a slower baseline would make them larger.");
        }

        var figures = $"prefill {Text(prefill)}, generation {Text(generation)} times the best of {string.Join(" and ", comparison.Against)} "
            + $"({comparison.Model}, {comparison.Threads} threads, {comparison.MeasuredAt:yyyy-MM-dd}{Bf16(comparison)})";
        if (prefill >= LevelFrom && generation >= LevelFrom)
            return new BaselineNote(isa, true, $"fp16, which speedups are over, is level with the best public engine on this kind of machine ({isa}): {figures}.");
        return IsOpen(prefill, fp16.PrefillHigh) && IsOpen(generation, fp16.GenerationHigh)
            ? new BaselineNote(isa, false,
                $"fp16, which speedups are over, was not shown level with the best public engine on this kind of machine ({isa}): {figures}, "
                + "and the measurement is too uncertain to tell.")
            : new BaselineNote(isa, false,
                $"fp16, which speedups are over, is slower than the best public engine on this kind of machine ({isa}): {figures}. "
                + "Against that engine the speedups would be smaller.");
    }

    /// <summary>Level, or its interval reaches 1.</summary>
    private static bool IsOpen(double ratio, double? high) => ratio >= LevelFrom || high >= 1;

    private static string Bf16(EngineComparison comparison) =>
        comparison.Ratios.GetValueOrDefault("bf16") is { Prefill: { } prefill, Generation: { } generation }
            ? $"; bf16: {Text(prefill)} and {Text(generation)}"
            : "";

    private static string Text(double value) => value.ToString("0.00", CultureInfo.InvariantCulture);
}
