using AgileQuant.Agent;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>Finds out whether a board is fit: probe, engine, ownership, self-test, first temperature.</summary>
public sealed class DeviceChecker(DriverServices services, DeviceLease lease, BoardSession session)
{
    private static readonly TimeSpan SampleTime = TimeSpan.FromMilliseconds(500);

    /// <summary>Checks and stores the outcome: ready, or bad with the reason.</summary>
    public async Task CheckAsync(DeviceRow device, CancellationToken ct)
    {
        var check = device.CheckRequested;
        if (device.State is "bad" or "offline")
            await services.Devices.SetStateAsync(lease, DeviceState.Registering, "checking", ct);
        try
        {
            var facts = await session.ProbeAsync(ct);
            await services.Devices.SetFactsAsync(lease, ToView(facts), ct);
            RefuseWrongKind(device, facts);
            var engine = await services.Assets.CurrentEngineAsync(facts.Architecture, ct)
                ?? throw new BoardUnfitException($"there is no engine for {facts.Architecture}: bench engine build --target {facts.Architecture}");
            await session.PushAsync(engine.Sha256, executable: true, ct);
            await OwnAsync(device, engine.Sha256, ct);
            var selfTest = await SelfTestAsync(device, engine, ct);
            await RememberIdleAsync(engine.Sha256, ct);
            var problem = selfTest.Passed ? null : "self-test failed: " + Describe(selfTest);
            await services.Devices.CheckedAsync(lease, check, selfTest, problem is null ? DeviceState.Ready : DeviceState.Bad, problem, ct);
        }
        catch (BoardUnfitException e)
        {
            await services.Devices.CheckedAsync(lease, check, null, DeviceState.Bad, e.Message, ct);
        }
    }

    private static void RefuseWrongKind(DeviceRow device, DeviceFacts facts)
    {
        if (facts.Architecture == "unsupported")
            throw new BoardUnfitException($"its processor ({facts.Machine}) is not supported: 64-bit x86 or Arm is needed");
        if (facts.IsEmulated && device.KindValue == DeviceKind.Real)
        {
            throw new BoardUnfitException(
                $"it is not a real board ({facts.EmulationHint}): remove it and add it again with --kind emulated, so that its speed never shows");
        }
    }

    /// <summary>Adopts the board when that was asked for; refuses one of another cluster otherwise.</summary>
    private async Task OwnAsync(DeviceRow device, string engineSha, CancellationToken ct)
    {
        var cluster = (await services.Database.ClusterIdAsync(ct)).ToString();
        var status = await session.RetryAsync(async token => await (await session.EngineAsync(engineSha, token)).StatusAsync(null, token), ct);
        if (status.Owner is not { } owner || owner.Cluster == cluster)
            return;
        if (!device.AdoptRequested)
            throw new BoardUnfitException(OtherCluster(device.Name));
        var engine = await session.EngineAsync(engineSha, ct);
        if (status.Running is { } running && !await engine.StopAsync(running, TimeSpan.FromSeconds(10), ct))
            throw new BoardUnfitException($"an engine of another cluster runs and does not stop (attempt {running}): stop it there, then adopt again");
        if (!await engine.AdoptAsync(cluster, lease.Epoch, ct))
            throw new BoardUnfitException("an engine of another cluster runs: stop it there, then adopt again");
    }

    public static string OtherCluster(string device) => $"belongs to another cluster: bench device adopt {device}";

    private async Task<SelfTestView> SelfTestAsync(DeviceRow device, EngineRow row, CancellationToken ct)
    {
        var engine = await session.EngineAsync(row.Sha256, ct);
        var info = await engine.InfoAsync(ct);
        await services.Assets.DescribeEngineAsync(row.Sha256, info.Version, info.Build ?? "unknown", ct);
        // Emulated CPUs are some twenty times slower: the quick test covers every kernel with fewer cases.
        var report = await engine.SelfTestAsync(device.KindValue != DeviceKind.Real, ct);
        var isa = string.Join(", ", info.Kernels.OrderBy(k => k.Key, StringComparer.Ordinal).Select(k => $"{k.Key}: {k.Value}"));
        return new SelfTestView(
            report.Passed, info.Version, row.Sha256, isa, DateTimeOffset.UtcNow,
            [.. report.Kernels.Select(k => new KernelCheckView(k.Kernel, k.Isa ?? "", k.Shapes, k.Ok, Detail(k)))],
            [.. info.Kernels.Keys.Order(StringComparer.Ordinal)]);
    }

    private static string Detail(SelfTestEvent k) =>
        $"largest difference {k.MaxDifference?.ToString("0.###e+0") ?? "is not a number"}, tolerance {k.Tolerance:0.###e+0}";

    private static string Describe(SelfTestView test)
    {
        var failed = test.Kernels.Where(k => !k.Passed).Select(k => $"{k.Kernel} {k.Isa}: {k.Detail ?? "differs from the scalar kernel"}").ToList();
        return failed.Count == 0 ? "it did not finish" : string.Join("; ", failed.Take(5));
    }

    private async Task RememberIdleAsync(string engineSha, CancellationToken ct)
    {
        var engine = await session.EngineAsync(engineSha, ct);
        var sample = await engine.SampleAsync(SampleTime, loop: true, ct);
        await services.Devices.SetReferenceAsync(lease, TelemetryReading.Hottest(sample), sample.LoopNs, ct);
    }

    private static DeviceFactsView ToView(DeviceFacts f) => new(
        f.Architecture, f.CpuModel, f.CpuFeatures, [.. f.Cores.Select(c => new CoreView(c.Index, c.MaxClockKHz / 1000.0))], f.MemoryBytes,
        f.OsName, f.Kernel, f.Governor, [.. f.ThermalZones.Select(z => new ThermalZoneView(z.Name, z.Celsius))], f.DiskFreeBytes,
        f.BootId, f.MachineFingerprint);
}
