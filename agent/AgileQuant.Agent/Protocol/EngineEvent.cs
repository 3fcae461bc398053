namespace AgileQuant.Agent.Protocol;

/// <summary>One line of a journal: docs/engine-protocol.md, "Journal".</summary>
public abstract record EngineEvent
{
    /// <summary>Counts from 0 within an attempt.</summary>
    public long Seq { get; init; }

    /// <summary>Milliseconds since the engine started.</summary>
    public long Ms { get; init; }
}

/// <summary>Codes of the engine's error events that mean something to us: docs/engine-protocol.md.</summary>
public static class EngineErrorCodes
{
    /// <summary>The board has too little memory: engine/native/src/model.c and others.</summary>
    public const string Memory = "memory";
}

/// <summary>First event: what runs, and under whose epoch.</summary>
public sealed record JobEvent : EngineEvent
{
    public int Format { get; init; }

    public string Attempt { get; init; } = "";

    public string? Cluster { get; init; }

    public long? Epoch { get; init; }

    public string? Engine { get; init; }

    public string? Build { get; init; }

    public string? Isa { get; init; }

    public int Threads { get; init; }

    public string? BootId { get; init; }

    public long? UnixMs { get; init; }
}

/// <summary>State of the board at one moment; null: the kernel does not show it.</summary>
public sealed record TelemetryEvent : EngineEvent
{
    public IReadOnlyList<double?>? CpuMhz { get; init; }

    /// <summary>Degrees Celsius by zone.</summary>
    public IReadOnlyDictionary<string, double?>? TempC { get; init; }

    public double? Load1 { get; init; }

    /// <summary>Share of all cores in use since the last telemetry, 0..1.</summary>
    public double? Busy { get; init; }

    public long? MemAvailable { get; init; }

    public long? Rss { get; init; }

    public double? PowerW { get; init; }

    public double? BatteryPct { get; init; }

    /// <summary>What the board reports as throttling: a flag or a bit mask, as raw JSON.</summary>
    public System.Text.Json.JsonElement? Throttled { get; init; }

    /// <summary><c>sample --loop</c> only: best time of a short fixed integer loop, nanoseconds.</summary>
    public long? LoopNs { get; init; }
}

/// <summary>A block changed its state: <c>started</c>, <c>done</c>, <c>failed</c>.</summary>
public sealed record BlockEvent : EngineEvent
{
    public int Block { get; init; }

    public string State { get; init; } = "";

    public string? Pack { get; init; }

    public string? Kind { get; init; }

    public double? LoadMs { get; init; }

    public int? Repetitions { get; init; }

    public long? PeakRss { get; init; }

    public string? NllFile { get; init; }

    public string? NllSha256 { get; init; }

    public string? SurvivorsFile { get; init; }

    public string? SurvivorsSha256 { get; init; }

    public double? RowShare { get; init; }
}

/// <summary>A repetition that does not count.</summary>
public sealed record WarmupEvent : EngineEvent
{
    public int Block { get; init; }

    public int Index { get; init; }

    public long Ns { get; init; }
}

/// <summary>A timed repetition of <see cref="Tokens"/> tokens.</summary>
public sealed record SampleEvent : EngineEvent
{
    public int Block { get; init; }

    public int Index { get; init; }

    public long Ns { get; init; }

    public long Tokens { get; init; }
}

/// <summary>A scored perplexity window: the sum of its targets' negative log-likelihoods, natural logarithm.</summary>
public sealed record WindowEvent : EngineEvent
{
    public int Block { get; init; }

    public int Window { get; init; }

    public int Targets { get; init; }

    public double NllSum { get; init; }
}

/// <summary>Something failed; with a block index only that block.</summary>
public sealed record ErrorEvent : EngineEvent
{
    public string Code { get; init; } = "";

    public string Message { get; init; } = "";

    public int? Block { get; init; }
}

/// <summary>One kernel's comparison in <c>selftest</c>.</summary>
public sealed record SelfTestEvent : EngineEvent
{
    public string Kernel { get; init; } = "";

    public string? Isa { get; init; }

    public bool Ok { get; init; }

    /// <summary>Matrix shapes that were compared.</summary>
    public int Shapes { get; init; }

    /// <summary>Largest difference from the scalar kernel; null: not a number.</summary>
    public double? MaxDifference { get; init; }

    public double Tolerance { get; init; }
}

/// <summary>Last event: <c>done</c>, <c>failed</c> or <c>stopped</c>.</summary>
public sealed record EndEvent : EngineEvent
{
    public string Status { get; init; } = "";
}

/// <summary>An event of a newer engine, or a line that is no event; kept, never an error.</summary>
/// <param name="Name">Its event name, or empty for a line that is no event.</param>
/// <param name="Line">The line as it came.</param>
public sealed record UnknownEvent(string Name, string Line) : EngineEvent;
