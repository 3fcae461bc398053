using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>What a trust grade is made of. Null: the board does not show it.</summary>
/// <param name="MadPercent">The larger spread of prefill and generation.</param>
/// <param name="DriftPercent">Change of the median from the first to the last third, percent, the larger one.</param>
/// <param name="ClockResidency">Share of readings with the clock within 5% of its maximum.</param>
/// <param name="StartAboveIdle">°C above this device's idle at the start.</param>
/// <param name="BackgroundBusy">Share of all cores that others used at the start.</param>
/// <param name="GateNote">What the gate let pass, in words.</param>
public sealed record GradeInput(
    double MadPercent, double DriftPercent, int Repetitions, double? ClockResidency, bool HasTemperature, double? StartAboveIdle,
    double? BackgroundBusy, bool Throttled, string? GateNote);

/// <summary>A to D: how far a speed can be trusted, with the reasons in words (docs/measurement.md).</summary>
public static class TrustGrade
{
    public static GradeView Of(GradeInput input)
    {
        var grade = 'A';
        var reasons = new List<string>();
        void Cap(char worst, string reason)
        {
            grade = worst > grade ? worst : grade;
            reasons.Add(reason);
        }

        void Bands(double? value, double a, double b, double c, Func<double, string> words)
        {
            if (value is { } v && !(v <= a))
                Cap(v <= b ? 'B' : v <= c ? 'C' : 'D', words(v));
        }

        Bands(input.MadPercent, 2, 5, 10, v => $"spread of the repetitions is {v:0.0}% (MAD)");
        Bands(Math.Abs(input.DriftPercent), 2, 5, 10, _ => $"speed drifted by {input.DriftPercent:+0.0;-0.0}% from the first to the last third");
        Bands(1 - input.ClockResidency, 0.05, 0.2, 0.5, v => $"the clock was below 95% of its maximum for {v:P0} of the time");
        Bands(input.StartAboveIdle, 5, 10, 20, v => $"it started {v:0.0} °C above idle");
        Bands(input.BackgroundBusy, 0.05, 0.15, 0.3, v => $"others used {v:P0} of the cores at the start");
        if (input.Throttled)
            Cap('C', "the board throttled");
        if (input.Repetitions < 3)
            Cap('C', $"only {input.Repetitions} repetitions");
        if (!input.HasTemperature)
            Cap('B', "the board shows no temperature");
        if (input.GateNote is not null)
            Cap('B', input.GateNote);
        if (reasons.Count == 0)
            reasons.Add("small spread, no drift, full clocks, cool and quiet start");
        return new GradeView(grade, reasons);
    }

    /// <summary>Percent change of the median from the first to the last third; 0 with fewer than 3 values.</summary>
    public static double DriftPercent(IReadOnlyList<double> rates)
    {
        var third = rates.Count / 3;
        return third == 0 ? 0 : 100 * (Statistics.Median(rates.Skip(rates.Count - third)) / Statistics.Median(rates.Take(third)) - 1);
    }

    /// <summary>Share of readings within 5% of the maximum clock; null without readings. Unknown maximum: the highest reading.</summary>
    public static double? ClockResidency(IReadOnlyCollection<double> megahertz, double? maximum)
    {
        if (megahertz.Count == 0)
            return null;
        var top = maximum is > 0 ? maximum.Value : megahertz.Max();
        return megahertz.Count(m => m >= 0.95 * top) / (double)megahertz.Count;
    }
}
