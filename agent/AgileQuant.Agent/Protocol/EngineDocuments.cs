using System.Text.Json;

namespace AgileQuant.Agent.Protocol;

/// <summary>result.json: docs/engine-protocol.md, "Result".</summary>
public sealed record EngineResult
{
    public int Format { get; init; }

    public string Attempt { get; init; } = "";

    /// <summary><c>done</c>, <c>failed</c> or <c>stopped</c>.</summary>
    public string Status { get; init; } = "";

    public string? Engine { get; init; }

    public string? Isa { get; init; }

    public string? BootId { get; init; }

    public IReadOnlyList<BlockResult> Blocks { get; init; } = [];
}

/// <summary>One block's figures; those of the other kind are null or empty.</summary>
public sealed record BlockResult
{
    public int Block { get; init; }

    public string Pack { get; init; } = "";

    public string? PackSha256 { get; init; }

    public string Kind { get; init; } = "";

    public string State { get; init; } = "";

    /// <summary>Tokens of one repetition.</summary>
    public long? Tokens { get; init; }

    public IReadOnlyList<long> Ns { get; init; } = [];

    public IReadOnlyList<long> WarmupNs { get; init; } = [];

    public long? PeakRss { get; init; }

    public double? LoadMs { get; init; }

    public string? Convention { get; init; }

    /// <summary>Window length.</summary>
    public int? N { get; init; }

    public int? First { get; init; }

    public int? Windows { get; init; }

    /// <summary>Targets of one window.</summary>
    public int? Targets { get; init; }

    public string? NllFile { get; init; }

    public string? NllSha256 { get; init; }

    /// <summary>Pruned packs: bytes <c>[windows][targets]</c>, 1 where the predicting position stayed to the end.</summary>
    public string? SurvivorsFile { get; init; }

    public string? SurvivorsSha256 { get; init; }

    /// <summary>Pruned packs, timing: rows x layers that ran, as a share of all, 0..1.</summary>
    public double? RowShare { get; init; }
}

/// <summary>What <c>aqengine info</c> prints. <see cref="Raw"/> keeps the whole object for provenance.</summary>
public sealed record EngineInfo
{
    public string Version { get; init; } = "";

    public string? Build { get; init; }

    public string? Target { get; init; }

    public string? Compiler { get; init; }

    public string? Cpu { get; init; }

    /// <summary>Kernel sets this CPU can run.</summary>
    public IReadOnlyList<string> Isas { get; init; } = [];

    /// <summary>The one it would use.</summary>
    public string? Isa { get; init; }

    /// <summary>Kernel set chosen for each base precision; <c>bf16</c> only where the CPU has the instruction.</summary>
    public IReadOnlyDictionary<string, string> Kernels { get; init; } = new Dictionary<string, string>();

    public int Cores { get; init; }

    public long? PageSize { get; init; }

    public long? MemTotal { get; init; }

    public long? MemAvailable { get; init; }

    public string? BootId { get; init; }

    public JsonElement Raw { get; init; }
}

/// <summary>Who owns a board.</summary>
public sealed record EngineOwner(string Cluster, long Epoch);

/// <summary>A job folder on a board. State: running, done, failed, stopped, lost or prepared.</summary>
public sealed record EngineJobStatus(string Attempt, string State, long JournalBytes);

/// <summary>What <c>aqengine status</c> prints.</summary>
public sealed record EngineStatus
{
    public EngineOwner? Owner { get; init; }

    /// <summary>Attempt of the engine that runs now.</summary>
    public string? Running { get; init; }

    public string? BootId { get; init; }

    public IReadOnlyList<EngineJobStatus> Jobs { get; init; } = [];
}

/// <summary>All lines of <c>aqengine selftest</c>.</summary>
/// <param name="Passed">The engine's verdict: exit code 0.</param>
/// <param name="Kernels">One entry a kernel.</param>
public sealed record SelfTestReport(bool Passed, IReadOnlyList<SelfTestEvent> Kernels)
{
    /// <summary>Kernels that differ from the scalar one, for people.</summary>
    public string Describe() => Passed
        ? $"{Kernels.Count} kernels equal the scalar ones"
        : string.Join("; ", Kernels.Where(k => !k.Ok)
            .Select(k => $"{k.Kernel} on {k.Isa} differs by {k.MaxDifference:G3} (at most {k.Tolerance:G3} allowed)")
            .DefaultIfEmpty("the self-test did not finish"));
}
