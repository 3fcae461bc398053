namespace AgileQuant.Orchestrator.Measurement;

/// <summary>A look at a board before a timing job. Null where the board does not show it.</summary>
public sealed record GateReading(double? Celsius, double? Busy, long? LoopNs, double? MeanMhz, long? MemoryAvailable, string? Governor = null);

/// <summary>What the gate knows about a device from before.</summary>
/// <param name="IdleCelsius">Its lowest temperature seen at a gate or check.</param>
/// <param name="BestLoopNs">Its best time of the reference loop.</param>
public sealed record GateReference(double? IdleCelsius, long? BestLoopNs);

/// <summary>Start now or wait; <paramref name="Reason"/> in words: why it waits, or what was not as it should be.</summary>
public sealed record GateDecision(bool Start, string? Reason);

/// <summary>Whether a timing job may start now.</summary>
public static class Gate
{
    /// <summary>Share of all cores that others may use at most.</summary>
    public const double BusyLimit = 0.15;

    /// <summary>Without a temperature: the reference loop may take this much longer than the device's best.</summary>
    public const double LoopLimit = 1.05;

    /// <summary>Background load is waited for at most this long: unlike heat it need not end by itself.</summary>
    public static readonly TimeSpan LoadTimeout = TimeSpan.FromSeconds(60);

    public static GateDecision Decide(GateReading now, GateReference before, double marginCelsius, TimeSpan waited, TimeSpan timeout)
    {
        var hot = HotReason(now, before, marginCelsius);
        var load = now.Busy > BusyLimit ? $"background load {now.Busy:P0} of all cores" : null;
        var problems = string.Join("; ", new[] { hot, load }.OfType<string>());
        if (problems.Length == 0)
            return new GateDecision(true, null);
        var mayWait = (hot is not null && waited < timeout) || (load is not null && waited < Min(timeout, LoadTimeout));
        return mayWait
            ? new GateDecision(false, "waits: " + problems)
            : new GateDecision(true, $"started after {waited.TotalSeconds:0} s although: {problems}");
    }

    private static string? HotReason(GateReading now, GateReference before, double margin)
    {
        if (now.Celsius is { } celsius)
            return before.IdleCelsius is { } idle && celsius > idle + margin ? $"{celsius:0.0} °C, idle is {idle:0.0} °C" : null;
        return now.LoopNs is { } loop && before.BestLoopNs is { } best && loop > best * LoopLimit
            ? $"the reference loop takes {(double)loop / best:0.00} times its best"
            : null;
    }

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
