using AgileQuant.Infra.Boards;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Boards;

/// <summary>How a board on this machine is reached.</summary>
internal sealed record LocalBoard(string Name, DeviceKind Kind, string Address, string HostKeyFingerprint, string IdentityFile);

/// <summary>
/// Boards that the demo makes on this machine, each with a private sshd on 127.0.0.1: this machine itself and an emulated Arm
/// board. They live in <c>boards/NAME</c> of the home; a node starts those that are there and stops them when it is stopped.
/// </summary>
internal static class LocalBoards
{
    public const string ThisMachine = "this-machine";
    public const string EmulatedArm = "emulated-a72";

    /// <summary>Why this machine cannot be a board; null when it can.</summary>
    public static string? WhyNotThisMachine() => LocalSshd.IsAvailable(out var reason) ? null : reason;

    /// <summary>Starts the board, or finds it running; keys and, where it is free, the port stay the same.</summary>
    public static async Task<LocalBoard> StartThisMachineAsync(BenchHome home, CancellationToken ct)
    {
        Directory.CreateDirectory(home.BoardFolder);
        var sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = Folder(home, ThisMachine), KeepRunning = true }, ct);
        return Describe(ThisMachine, DeviceKind.Real, sshd);
    }

    /// <summary>Why there can be no emulated Arm board here; null when there can.</summary>
    public static string? WhyNotEmulatedArm() => EmulatedArmBoard.IsAvailable(out var reason) ? null : reason;

    /// <summary>Starts the emulated Arm board, or finds it running.</summary>
    public static async Task<LocalBoard> StartEmulatedArmAsync(BenchHome home, CancellationToken ct)
    {
        Directory.CreateDirectory(home.BoardFolder);
        var board = await EmulatedArmBoard.StartAsync(
            new EmulatedArmBoardOptions { Folder = Folder(home, EmulatedArm), CacheFolder = CacheFolder(), KeepRunning = true }, ct);
        return Describe(EmulatedArm, DeviceKind.Emulated, board.Sshd);
    }

    /// <summary>Starts every board that an earlier demo made.</summary>
    public static async Task StartExistingAsync(BenchHome home, CancellationToken ct)
    {
        if (Directory.Exists(Folder(home, ThisMachine)) && WhyNotThisMachine() is null)
            await StartThisMachineAsync(home, ct);
        if (Directory.Exists(Folder(home, EmulatedArm)) && WhyNotEmulatedArm() is null)
            await StartEmulatedArmAsync(home, ct);
    }

    /// <summary>Stops every board's sshd; returns how many ran. What runs detached on them goes on.</summary>
    public static async Task<int> StopAsync(BenchHome home, CancellationToken ct)
    {
        if (!Directory.Exists(home.BoardFolder))
            return 0;
        var stopped = 0;
        foreach (var folder in Directory.EnumerateDirectories(home.BoardFolder))
        {
            if (await LocalSshd.AttachAsync(folder, ct) is not { } sshd)
                continue;
            await sshd.StopAsync(ct);
            stopped++;
        }

        return stopped;
    }

    /// <summary>Downloads that are the same for every home: <c>BENCH_CACHE</c>, else the XDG cache folder.</summary>
    private static string CacheFolder()
    {
        if (Environment.GetEnvironmentVariable("BENCH_CACHE") is { Length: > 0 } given)
            return given;
        var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg && Path.IsPathRooted(xdg)
            ? xdg : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(cache, "agilequant-bench");
    }

    private static string Folder(BenchHome home, string name) => Path.Combine(home.BoardFolder, name);

    private static LocalBoard Describe(string name, DeviceKind kind, LocalSshd sshd) =>
        new(name, kind, sshd.Address, sshd.HostKeyFingerprint, sshd.IdentityFile);
}

/// <summary>Keeps the demo's boards reachable while a node runs.</summary>
internal sealed class LocalBoardsService(BenchHome home, ILogger<LocalBoardsService> log) : IHostedService
{
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            await LocalBoards.StartExistingAsync(home, cancellationToken);
        }
        catch (Exception e) when (e is InvalidOperationException or IOException)
        {
            log.LogWarning(e, "A board on this machine could not be started; `bench demo` starts it again"); // the node serves other boards
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => LocalBoards.StopAsync(home, cancellationToken);
}
