namespace AgileQuant.Orchestrator.Contracts;

/// <summary>Where a device stands. The names are stored and shown as they are.</summary>
public enum DeviceState { Registering, Ready, Busy, Cooling, Offline, Bad, Retired }

/// <summary>What kind of board this is. Only <see cref="Real"/> ones ever show a speed.</summary>
public enum DeviceKind { Real, Emulated, Simulated }

/// <summary>A host key that a person is asked to confirm before a device is added.</summary>
public sealed record HostKeyView(string Algorithm, string Fingerprint);

/// <summary>A request to register a board.</summary>
/// <param name="Name">Unique, 1 to 63 of <c>[a-z0-9-]</c>, starting with a letter.</param>
/// <param name="Address"><c>user@host[:port]</c>.</param>
/// <param name="HostKeyFingerprint">The confirmed key, <c>SHA256:…</c>.</param>
/// <param name="IdentityFile">A private key on the node's machine; null: the user's agent and default keys.</param>
/// <param name="Kind">Emulated and simulated boards never show as measurements.</param>
public sealed record AddDeviceRequest(
    string Name, string Address, string HostKeyFingerprint, string? IdentityFile = null, DeviceKind Kind = DeviceKind.Real);

/// <summary>What the probe found on the board. Null where the board does not show it.</summary>
public sealed record DeviceFactsView(
    string Target, string CpuModel, IReadOnlyList<string> CpuFeatures, IReadOnlyList<CoreView> Cores, long MemoryBytes,
    string OsName, string Kernel, string? Governor, IReadOnlyList<ThermalZoneView> ThermalZones, long? DiskFreeBytes,
    string? BootId, string? Fingerprint);

/// <summary>One core with its maximum clock in MHz, where the kernel shows it.</summary>
public sealed record CoreView(int Index, double? MaxMhz);

/// <summary>One thermal zone and its last reading in °C.</summary>
public sealed record ThermalZoneView(string Name, double? Celsius);

/// <summary>The outcome of the engine's self-test on this very CPU.</summary>
/// <param name="Precisions">
/// Base precisions that the engine has a kernel for here, from <c>aqengine info</c>: <c>bf16</c> is among them only where the CPU has the
/// instruction. Null: checked before this was recorded.
/// </param>
public sealed record SelfTestView(
    bool Passed, string EngineVersion, string EngineSha256, string Isa, DateTimeOffset At, IReadOnlyList<KernelCheckView> Kernels,
    IReadOnlyList<string>? Precisions = null);

/// <summary>One kernel checked against the scalar one.</summary>
public sealed record KernelCheckView(string Kernel, string Isa, int Cases, bool Passed, string? Detail);

/// <summary>A registered board.</summary>
/// <param name="StateReason">Why it is in this state, in words; null when there is nothing to say.</param>
/// <param name="Owner">The node that drives it now, with its lease's epoch; null: nobody.</param>
/// <param name="CheckPending">A check was asked for and has not ended yet.</param>
public sealed record DeviceView(
    Guid Id, string Name, string Address, DeviceKind Kind, DeviceState State, string? StateReason, string HostKeyFingerprint,
    string? Owner, long Epoch, string? CurrentJob, DateTimeOffset CreatedAt, DateTimeOffset? LastSeenAt,
    DeviceFactsView? Facts, SelfTestView? SelfTest, bool CheckPending = false);

/// <summary>Registers and looks after boards.</summary>
public interface IDeviceService
{
    /// <summary>All devices that are not retired, by name.</summary>
    Task<IReadOnlyList<DeviceView>> ListAsync(CancellationToken ct = default);

    /// <summary>One device by name or id; null when there is none.</summary>
    Task<DeviceView?> FindAsync(string nameOrId, CancellationToken ct = default);

    /// <summary>Asks the host for its key, for a person to confirm. Throws <see cref="UserErrorException"/> when it cannot be reached.</summary>
    Task<HostKeyView> FetchHostKeyAsync(string address, CancellationToken ct = default);

    /// <summary>Registers a board: it is then probed, the engine pushed and self-tested, by its driver. Returns in state registering.</summary>
    Task<DeviceView> AddAsync(AddDeviceRequest request, CancellationToken ct = default);

    /// <summary>Asks the driver to probe and self-test again.</summary>
    Task CheckAsync(string nameOrId, CancellationToken ct = default);

    /// <summary>Takes over a board that belongs to another cluster: what runs there is stopped, then it is checked.</summary>
    Task AdoptAsync(string nameOrId, CancellationToken ct = default);

    /// <summary>Retires a device. Refused while a job of it runs, unless <paramref name="force"/> cancels it.</summary>
    Task RemoveAsync(string nameOrId, bool force, CancellationToken ct = default);

    /// <summary>Recent telemetry of the device, oldest first, at most <paramref name="limit"/> points.</summary>
    Task<IReadOnlyList<TelemetryPoint>> TelemetryAsync(Guid deviceId, int limit, CancellationToken ct = default);
}

/// <summary>One telemetry reading. Null where the kernel shows nothing.</summary>
/// <param name="At">The node's estimate of the time on its own clock.</param>
/// <param name="Celsius">The hottest zone.</param>
/// <param name="MeanMhz">Mean clock over the cores.</param>
/// <param name="Busy">Share of all cores in use, 0 to 1.</param>
public sealed record TelemetryPoint(DateTimeOffset At, double? Celsius, double? MeanMhz, double? Busy, long? MemoryAvailableBytes, double? PowerWatts);
