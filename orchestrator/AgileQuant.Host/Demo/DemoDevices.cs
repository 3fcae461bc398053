using System.Diagnostics;
using AgileQuant.Host.Boards;
using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Demo;

/// <summary>Registers the demo's boards, or finds them as they were left.</summary>
internal sealed class DemoDevices(CliIo io, BenchClient client)
{
    private static readonly TimeSpan ReadyLimit = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);

    /// <summary>This machine, through its own sshd.</summary>
    public async Task<string> ThisMachineAsync(CancellationToken ct)
    {
        if (LocalBoards.WhyNotThisMachine() is { } reason)
            throw new BenchException($"this machine cannot be a board: {reason}");
        var device = await RegisterAsync(await LocalBoards.StartThisMachineAsync(io.Home, ct), ct);
        return IsUsable(device) ? device.Name
            : throw new BenchException($"{device.Name} is {device.State.ToString().ToLowerInvariant()}: {device.StateReason ?? "no reason given"}");
    }

    /// <summary>An emulated 64-bit Arm board, where this machine can emulate one; null, with the reason said, where not.</summary>
    public async Task<string?> EmulatedArmAsync(CancellationToken ct)
    {
        var reason = LocalBoards.WhyNotEmulatedArm();
        if (reason is null)
        {
            try
            {
                var device = await RegisterAsync(await LocalBoards.StartEmulatedArmAsync(io.Home, ct), ct);
                if (IsUsable(device))
                    return device.Name;
                reason = $"it is {device.State.ToString().ToLowerInvariant()}: {device.StateReason ?? "no reason given"}";
            }
            catch (InvalidOperationException e)
            {
                reason = e.Message;
            }
        }

        io.Note($"without  device {LocalBoards.EmulatedArm}: {reason}");
        return null;
    }

    private async Task<DeviceView> RegisterAsync(LocalBoard board, CancellationToken ct)
    {
        var known = (await client.ListDevicesAsync(ct)).FirstOrDefault(d => d.Name == board.Name);
        if (known is not null && (known.Address != board.Address || known.HostKeyFingerprint != board.HostKeyFingerprint))
        {
            io.Note($"{board.Name} moved to {board.Address}: registering it anew");
            await client.RemoveDeviceAsync(board.Name, force: true, ct);
            known = null;
        }

        if (known is not null)
        {
            io.Note($"reused   device {board.Name} at {board.Address}");
            if (!IsUsable(known))
                await client.CheckDeviceAsync(board.Name, ct);
            return await WaitAsync(board.Name, ct);
        }

        await client.AddDeviceAsync(new AddDeviceRequest(board.Name, board.Address, board.HostKeyFingerprint, board.IdentityFile, board.Kind), ct);
        var device = await WaitAsync(board.Name, ct);
        if (IsUsable(device))
            io.Note($"added    device {board.Name} at {board.Address}: {device.Facts?.CpuModel}, self-test of {device.SelfTest?.Kernels.Count ?? 0} kernels passed");
        return device;
    }

    private async Task<DeviceView> WaitAsync(string name, CancellationToken ct)
    {
        var waited = Stopwatch.StartNew();
        while (true)
        {
            var device = await client.GetDeviceAsync(name, ct);
            if (IsUsable(device) || device.State == DeviceState.Bad || waited.Elapsed > ReadyLimit)
                return device;
            await Task.Delay(Look, ct);
        }
    }

    private static bool IsUsable(DeviceView device) => device.State is DeviceState.Ready or DeviceState.Busy or DeviceState.Cooling;
}
