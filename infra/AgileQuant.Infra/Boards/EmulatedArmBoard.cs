using System.Diagnostics.CodeAnalysis;

namespace AgileQuant.Infra.Boards;

/// <summary>How an emulated board is set up.</summary>
public sealed record EmulatedArmBoardOptions
{
    /// <summary>Holds the board's keys, configuration and root file system; created with mode 0700.</summary>
    public required string Folder { get; init; }

    /// <summary>Where the downloaded arm64 busybox is kept for all emulated boards.</summary>
    public required string CacheFolder { get; init; }

    /// <summary>CPU as qemu names it.</summary>
    public string Cpu { get; init; } = "cortex-a72";

    /// <summary>True: disposing leaves the board running.</summary>
    public bool KeepRunning { get; init; }

    public TimeSpan StartTimeout { get; init; } = TimeSpan.FromSeconds(15);
}

/// <summary>
/// A 64-bit Arm board on an x86 machine: a <see cref="LocalSshd"/> whose commands run in user-mode emulation (qemu) with a
/// root file system of its own (proot) that holds an arm64 busybox. Needs no root and registers nothing with the kernel.
/// It shows real Arm instructions at work, never a speed; the board says itself that it is emulated.
/// </summary>
public sealed class EmulatedArmBoard : IAsyncDisposable
{
    private const int PowerOffRounds = 100;

    private readonly string _rootFolder;
    private readonly bool _keepRunning;

    private EmulatedArmBoard(LocalSshd sshd, string rootFolder, bool keepRunning)
    {
        Sshd = sshd;
        _rootFolder = rootFolder;
        _keepRunning = keepRunning;
    }

    /// <summary>Address, keys and state. Its home folder is the host's, not the one commands see: <see cref="HomeFolder"/>.</summary>
    public LocalSshd Sshd { get; }

    /// <summary>The board's home folder as this machine sees it.</summary>
    public string HomeFolder => ArmRootFileSystem.HostPath(_rootFolder, ArmRootFileSystem.Home);

    /// <summary>Whether this machine can emulate the board; the reason says what to install.</summary>
    public static bool IsAvailable([NotNullWhen(false)] out string? reason)
    {
        if (!LocalSshd.IsAvailable(out reason))
            return false;
        List<string> missing = [];
        if (Qemu() is null)
            missing.Add("qemu-user-static");
        if (ToolProcess.Find("proot") is null)
            missing.Add("proot");
        if (missing.Count > 0)
            reason = $"{string.Join(" and ", missing)} not found: apt-get install {string.Join(' ', missing)}.";
        return reason is null;
    }

    /// <summary>Starts the board, or attaches to it when it runs already. The first time an arm64 busybox is downloaded with
    /// the system's apt.</summary>
    /// <exception cref="InvalidOperationException">A tool is missing or failed; the message says which.</exception>
    public static async Task<EmulatedArmBoard> StartAsync(EmulatedArmBoardOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (!IsAvailable(out var reason))
            throw new InvalidOperationException($"An emulated Arm board cannot run here: {reason}");
        var root = Path.Combine(Path.GetFullPath(options.Folder), "rootfs");
        var busybox = await ArmBusybox.GetAsync(options.CacheFolder, cancellationToken);
        await ArmRootFileSystem.CreateAsync(root, busybox, Qemu()!, options.Cpu, cancellationToken);
        var sshdOptions = new LocalSshdOptions
        {
            Folder = options.Folder,
            KeepRunning = options.KeepRunning,
            StartTimeout = options.StartTimeout,
        };
        var sshd = await LocalSshd.StartAsync(sshdOptions, _ => Wrapper(root, options.Cpu), cancellationToken);
        return new EmulatedArmBoard(sshd, root, options.KeepRunning);
    }

    /// <summary>Stops the server and everything that runs on the board, as pulling its plug would.</summary>
    public async Task PowerOffAsync(CancellationToken cancellationToken = default)
    {
        await Sshd.StopAsync(cancellationToken);
        // What proot holds goes before proot: without it, a program would go on outside the board's file system. A program
        // may just be starting another one, so look again until nothing is left.
        for (var round = 0; round < PowerOffRounds; round++)
        {
            var proots = ProcessTable.WithArgument(_rootFolder);
            var programs = proots.SelectMany(ProcessTable.TracedBy).ToList();
            await ProcessTable.SignalAsync(programs.Count > 0 ? programs : proots, "KILL", cancellationToken);
            if (proots.Count == 0)
                return;
            await Task.Delay(20, cancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_keepRunning)
            await PowerOffAsync();
    }

    private static string? Qemu() => ToolProcess.Find("qemu-aarch64-static") ?? ToolProcess.Find("qemu-aarch64");

    // proot ends only when the last program it traces has ended, a detached engine among them. So the session does not wait
    // for proot but for the command's own exit code, and proot holds none of the session's streams: the command opens pipes.
    private static string Wrapper(string root, string cpu) => $$"""
        #!/bin/sh
        command=$SSH_ORIGINAL_COMMAND; unset SSH_ORIGINAL_COMMAND
        root={{ToolProcess.Quote(root)}}
        s=$(mktemp -d "$root/tmp/session.XXXXXXXX") || exit 255
        mkfifo "$s/in" "$s/out" "$s/err" "$s/code" || exit 255
        exec 3<&0
        (
            exec 3<&- 6<>"$s/code"
            env -i PATH=/bin HOME={{ArmRootFileSystem.Home}} USER=board SHELL=/bin/sh TMPDIR=/tmp \
                {{ToolProcess.Quote(ToolProcess.Find("proot")!)}} -q {{ToolProcess.Quote($"{Qemu()} -cpu {cpu}")}} -r "$root" \
                -b /proc -b /dev -b "$root{{ArmRootFileSystem.CpuInfo}}:/proc/cpuinfo" -w {{ArmRootFileSystem.Home}} \
                /bin/sh -c 'sh -c "$2" <"$1/in" >"$1/out" 2>"$1/err"; echo "$?" >"$1/code"' sh "/tmp/${s##*/}" "${command:-sh}" \
                2>"$s/proot.log"
            echo "proot $?" >&6
        ) </dev/null >/dev/null 2>&1 &
        cat <&3 >"$s/in" & feeder=$!
        cat "$s/out" & out=$!
        cat "$s/err" >&2 & err=$!
        exec 3<&-
        read -r code <"$s/code"
        case $code in
            proot*) kill "$out" "$err"; echo "the emulated board failed: $code" >&2; cat "$s/proot.log" >&2; code=255 ;;
            *) wait "$out" "$err" ;;
        esac
        kill "$feeder" 2>/dev/null
        rm -rf "$s"
        exit "$code"

        """;
}
