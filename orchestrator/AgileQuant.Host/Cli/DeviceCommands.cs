using System.CommandLine;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>device add, list, show, check, adopt, remove.</summary>
internal static class DeviceCommands
{
    private static readonly TimeSpan RegistrationLimit = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan OfflineLimit = TimeSpan.FromSeconds(20);
    private const int CheckSeconds = 120;
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);

    public static Command Create() => new("device", "Registers and looks after boards.") { Add(), List(), Show(), Check(), Adopt(), Remove() };

    private static Command Add()
    {
        var command = BenchCommand.Make("add",
            "Registers a board: shows its host key and asks, then probes it and tests the engine on its CPU. Without a terminal give the key with --host-key.",
            "bench device add pi@192.168.1.20 --name pi4");
        var address = new Argument<string>("address") { Description = "user@host[:port]" };
        var name = new Option<string>("--name") { Description = "1 to 63 of a-z, 0-9 and -, starting with a letter.", Required = true };
        var identity = new Option<string?>("--identity") { Description = "Private key file; without it your SSH agent and default keys." };
        var key = new Option<string?>("--host-key") { Description = "The board's host key as you know it, SHA256:…, instead of the question." };
        var kind = new Option<DeviceKind>("--kind") { Description = "real, emulated or simulated; only real boards show speeds.", DefaultValueFactory = _ => DeviceKind.Real };
        var noWait = new Option<bool>("--no-wait") { Description = "Do not wait until the board is probed and tested." };
        command.Add(address);
        foreach (var option in (Option[])[name, identity, key, kind, noWait])
            command.Add(option);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var where = parse.GetValue(address)!;
            var fingerprint = await ConfirmKeyAsync(io, client, where, parse.GetValue(key), ct);
            if (fingerprint is null)
                return 1;
            var identityFile = parse.GetValue(identity) is { } file ? Path.GetFullPath(file) : null;
            if (identityFile is not null && !File.Exists(identityFile))
                throw new BenchException($"there is no key file {identityFile}");
            var device = await client.AddDeviceAsync(new AddDeviceRequest(parse.GetValue(name)!, where, fingerprint, identityFile, parse.GetValue(kind)), ct);
            if (!parse.GetValue(noWait))
                device = await WaitUntilRegisteredAsync(io, client, device.Name, ct);
            io.Result(device, d => Draw(io, d));
            if (parse.GetValue(noWait))
                return 0;
            if (device.State is DeviceState.Registering)
                io.Note($"error: {device.Name} is still registering after {RegistrationLimit.TotalMinutes:0} minutes; `bench device show {device.Name}` says what it waits for, the node's log more (`bench status` names it)");
            return IsUsable(device) ? 0 : 1;
        });
        return command;
    }

    private static Command List()
    {
        var command = BenchCommand.Make("list", "Lists the devices.", "bench device list --json");
        command.HandleWithNode(async (_, io, client, ct) =>
        {
            io.Result(await client.ListDevicesAsync(ct), devices =>
            {
                if (devices.Count == 0)
                {
                    io.Say("no devices yet; `bench device add user@host --name NAME` registers one");
                    return;
                }

                var table = Tables.New("Name", "State", "Kind", "Address", "CPU", "Engine", "Job", "Last seen");
                foreach (var d in devices)
                {
                    table.AddRow(Tables.Cells(d.Name, StateOf(d), Lower(d.Kind), d.Address, d.Facts?.CpuModel ?? "–", d.SelfTest?.Isa ?? "–",
                        d.CurrentJob ?? "–", Tables.Time(d.LastSeenAt)));
                }

                io.Out.Write(table);
            });
            return 0;
        });
        return command;
    }

    private static Command Show()
    {
        var command = BenchCommand.Make("show", "Shows what is known about a device.", "bench device show pi4");
        var device = DeviceArgument();
        command.Add(device);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            io.Result(await client.GetDeviceAsync(parse.GetValue(device)!, ct), d => Draw(io, d));
            return 0;
        });
        return command;
    }

    private static Command Check()
    {
        var command = BenchCommand.Make("check",
            "Probes a device and tests the engine on it again, and waits for the outcome. Exit code 1 unless it is ready then.", "bench device check pi4");
        var (device, wait) = (DeviceArgument(), WaitOption());
        command.Add(device);
        command.Add(wait);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var before = await client.GetDeviceAsync(parse.GetValue(device)!, ct);
            await client.CheckDeviceAsync(before.Id.ToString(), ct);
            return await OutcomeAsync(io, client, before, TimeSpan.FromSeconds(parse.GetValue(wait)), ct);
        });
        return command;
    }

    private static Command Adopt()
    {
        var command = BenchCommand.Make("adopt",
            "Takes over a board that belongs to another cluster: stops what that one runs there, then checks the board. "
            + "The other cluster can no longer use it.", "bench device adopt pi4");
        var (device, wait) = (DeviceArgument(), WaitOption());
        var yes = new Option<bool>("--yes") { Description = "Do not ask." };
        command.Add(device);
        command.Add(wait);
        command.Add(yes);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var before = await client.GetDeviceAsync(parse.GetValue(device)!, ct);
            if (!parse.GetValue(yes) && !io.Interactive)
                throw new BenchException($"nobody is here to confirm that {before.Name} is to be taken from its cluster; if it is, add --yes");
            if (!parse.GetValue(yes)
                && !await new ConfirmationPrompt($"Take {before.Name} from the cluster it belongs to, and stop what that one runs there?") { DefaultValue = false }.ShowAsync(io.Error, ct))
            {
                return 1;
            }

            await client.AdoptDeviceAsync(before.Id.ToString(), ct);
            return await OutcomeAsync(io, client, before, TimeSpan.FromSeconds(parse.GetValue(wait)), ct);
        });
        return command;
    }

    private static Command Remove()
    {
        var command = BenchCommand.Make("remove", "Retires a device. Its results stay.", "bench device remove pi4 --force");
        var device = DeviceArgument();
        var force = new Option<bool>("--force") { Description = "Cancel what runs on it." };
        command.Add(device);
        command.Add(force);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            await client.RemoveDeviceAsync(parse.GetValue(device)!, parse.GetValue(force), ct);
            io.Result(new { removed = true }, _ => io.Say("removed"));
            return 0;
        });
        return command;
    }

    /// <summary>Waits until the driver has probed and tested the board; returns what it is then.</summary>
    internal static async Task<DeviceView> WaitUntilRegisteredAsync(CliIo io, BenchClient client, string name, CancellationToken ct)
    {
        var waited = System.Diagnostics.Stopwatch.StartNew();
        string? said = null;
        while (true)
        {
            var device = await client.GetDeviceAsync(name, ct);
            if (device.State is not DeviceState.Registering || waited.Elapsed > RegistrationLimit)
                return device;
            if (device.StateReason is { } reason && reason != said)
                io.Note($"{name}: {said = reason}");
            await Task.Delay(Look, ct);
        }
    }

    /// <summary>Waits for the check that was asked for and shows the device; 0 when it is fit for jobs.</summary>
    private static async Task<int> OutcomeAsync(CliIo io, BenchClient client, DeviceView before, TimeSpan limit, CancellationToken ct)
    {
        if (limit <= TimeSpan.Zero)
        {
            io.Result(new { requested = true }, _ => io.Say($"asked; `bench device show {before.Name}` shows the outcome"));
            return 0;
        }

        var device = await WaitUntilCheckedAsync(io, client, before, limit, ct);
        io.Result(device, d => Draw(io, d));
        if (device.CheckPending)
        {
            io.Note(device.State is DeviceState.Offline
                ? $"error: {device.Name} does not answer; it is tried again by itself, `bench device show {device.Name}` shows the outcome"
                : $"error: the check of {device.Name} has not ended after {limit.TotalSeconds:0} s{(device.CurrentJob is { } job ? $", it comes after the job {job}" : "")}; "
                  + $"it goes on, `bench device show {device.Name}` shows the outcome");
        }

        return IsUsable(device) && !device.CheckPending ? 0 : 1;
    }

    private static async Task<DeviceView> WaitUntilCheckedAsync(CliIo io, BenchClient client, DeviceView before, TimeSpan limit, CancellationToken ct)
    {
        var waited = System.Diagnostics.Stopwatch.StartNew();
        string? said = before.StateReason;
        while (true)
        {
            var device = await client.GetDeviceAsync(before.Id.ToString(), ct);
            var lost = device.State is DeviceState.Offline && (before.State is not DeviceState.Offline || waited.Elapsed > OfflineLimit);
            if (!device.CheckPending || lost || waited.Elapsed > limit)
                return device;
            if (device.StateReason is { } reason && reason != said)
                io.Note($"{device.Name}: {said = reason}");
            await Task.Delay(Look, ct);
        }
    }

    /// <summary>Fit for jobs: idle, at work, or cooling down between them.</summary>
    private static bool IsUsable(DeviceView device) => device.State is DeviceState.Ready or DeviceState.Busy or DeviceState.Cooling;

    /// <summary>The key to pin, confirmed by a person or given; null when the person says no.</summary>
    private static async Task<string?> ConfirmKeyAsync(CliIo io, BenchClient client, string address, string? given, CancellationToken ct)
    {
        var key = await client.FetchHostKeyAsync(address, ct);
        if (given is not null)
        {
            return given == key.Fingerprint ? key.Fingerprint
                : throw new BenchException($"{address} shows the key {key.Fingerprint} ({key.Algorithm}), not the one given; if the board was set up anew, check its key on its own console");
        }

        io.Note($"{address} shows this host key:\n  {key.Algorithm} {key.Fingerprint}");
        if (!io.Interactive)
            throw new BenchException($"nobody is here to confirm it; if it is the board's, add --host-key {key.Fingerprint}");
        return await new ConfirmationPrompt("Is it the board's (on the board: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)?") { DefaultValue = false }.ShowAsync(io.Error, ct)
            ? key.Fingerprint : null;
    }

    private static void Draw(CliIo io, DeviceView d)
    {
        io.Say($"{d.Name}: {StateOf(d)}");
        io.Say($"  address     {d.Address} ({Lower(d.Kind)})");
        io.Say($"  host key    {d.HostKeyFingerprint}");
        io.Say($"  owner       {d.Owner ?? "nobody"}, epoch {d.Epoch}");
        if (d.Facts is { } f)
        {
            io.Say($"  cpu         {f.CpuModel}, {f.Cores.Count} cores, {f.Target}");
            io.Say($"  memory      {Figures.Bytes(f.MemoryBytes)}");
            io.Say($"  system      {f.OsName}, Linux {f.Kernel}");
            io.Say($"  governor    {f.Governor ?? "not shown"}");
            io.Say($"  thermal     {(f.ThermalZones.Count == 0 ? "not shown" : string.Join(", ", f.ThermalZones.Select(z => $"{z.Name} {z.Celsius:0.#} °C")))}");
        }

        if (d.SelfTest is { } t)
            io.Say($"  self-test   {(t.Passed ? "passed" : "FAILED")}, engine {t.EngineVersion}, {t.Isa}, {t.Kernels.Count} kernels, {Tables.Time(t.At)}");
    }

    private static string StateOf(DeviceView d) => Lower(d.State) + (string.IsNullOrEmpty(d.StateReason) ? "" : $": {d.StateReason}");

    private static string Lower<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();

    private static Option<int> WaitOption() => new("--wait")
    {
        Description = "Seconds to wait for the outcome; 0: only ask.",
        DefaultValueFactory = _ => CheckSeconds,
    };

    private static Argument<string> DeviceArgument() => new("device") { Description = "Name or id." };
}
