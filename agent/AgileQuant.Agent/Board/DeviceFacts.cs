namespace AgileQuant.Agent;

/// <summary>What a board says about itself. What it does not show is null or empty, never a made-up value.</summary>
public sealed record DeviceFacts
{
    /// <summary>Engine target: <c>linux-x64</c>, <c>linux-arm64</c> or <c>unsupported</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary><c>uname -m</c> as the board says it.</summary>
    public required string Machine { get; init; }

    public required string CpuModel { get; init; }

    /// <summary>Flags or Features of /proc/cpuinfo, sorted.</summary>
    public required IReadOnlyList<string> CpuFeatures { get; init; }

    public required IReadOnlyList<CpuCore> Cores { get; init; }

    public required long MemoryBytes { get; init; }

    public required string OsName { get; init; }

    public required string Kernel { get; init; }

    public required string HostName { get; init; }

    /// <summary>Name of the board or product, such as "Raspberry Pi 4 Model B Rev 1.4".</summary>
    public string? Model { get; init; }

    /// <summary>Scaling governor of the first core.</summary>
    public string? Governor { get; init; }

    public required IReadOnlyList<ThermalZone> ThermalZones { get; init; }

    /// <summary>Free bytes for this user where <c>~/.agilequant</c> is or will be.</summary>
    public long? DiskFreeBytes { get; init; }

    public required string HomeFolder { get; init; }

    /// <summary>Changes with each boot; equal for boards that share one kernel.</summary>
    public string? BootId { get; init; }

    /// <summary>Hex SHA-256 that stays the same across boots and reinstalls of our software.</summary>
    public required string MachineFingerprint { get; init; }

    public required bool IsAndroid { get; init; }

    /// <summary>User-mode or system emulation: results must never count as measurements.</summary>
    public required bool IsEmulated { get; init; }

    /// <summary>What gave the emulation away, in words; null when <see cref="IsEmulated"/> is false.</summary>
    public string? EmulationHint { get; init; }
}

/// <summary>One logical CPU. <paramref name="MaxClockKHz"/> is null where the kernel does not show it.</summary>
public sealed record CpuCore(int Index, long? MaxClockKHz);

/// <summary>A kernel thermal zone and its reading in degrees Celsius, null when it could not be read.</summary>
public sealed record ThermalZone(string Name, double? Celsius);
