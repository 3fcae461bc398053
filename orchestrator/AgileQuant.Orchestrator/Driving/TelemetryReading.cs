using System.Text.Json;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>From the engine's telemetry to ours. What the kernel does not show stays null.</summary>
public static class TelemetryReading
{
    /// <summary>Temperatures outside of this range are sensors that are not connected.</summary>
    private const double Coldest = -40, Hottest0 = 150;

    /// <summary>A year: a damaged line must not break the one who follows.</summary>
    private const long LongestMs = 365L * 24 * 3600 * 1000;

    public static TelemetryPoint ToPoint(TelemetryEvent e, DateTimeOffset attemptStarted) => new(
        attemptStarted.AddMilliseconds(Math.Clamp(e.Ms, 0, LongestMs)), Hottest(e), MeanMhz(e), e.Busy, e.MemAvailable, e.PowerW);

    public static double? Hottest(TelemetryEvent e) => e.TempC?.Values.Where(c => c is > Coldest and < Hottest0 and not 0).Max();

    /// <summary>A flag that is true, a bit mask or counter that is not 0.</summary>
    public static bool IsThrottled(EngineEvent e) => e is TelemetryEvent { Throttled: { } flag } && flag.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.Number => flag.TryGetInt64(out var bits) && bits != 0,
        _ => false,
    };

    public static double? MeanMhz(TelemetryEvent e) => e.CpuMhz?.Where(m => m > 0).Average();
}
