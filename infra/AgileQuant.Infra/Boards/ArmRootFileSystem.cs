namespace AgileQuant.Infra.Boards;

/// <summary>The few files an emulated board needs: busybox and its names, users, an identity, a CPU description.</summary>
internal static class ArmRootFileSystem
{
    public const string Home = "/home/board";
    public const string CpuInfo = "/etc/cpuinfo";

    private static readonly string[] Folders = ["bin", "etc", "tmp", "proc", "dev", "sys", "home/board"];

    public static string HostPath(string root, string path) => root + path;

    public static async Task CreateAsync(string root, string busybox, string qemu, string cpu, CancellationToken cancellationToken)
    {
        PrivateFiles.CreateFolder(Path.GetDirectoryName(root)!);
        foreach (var folder in Folders)
            PrivateFiles.CreateFolder(Path.Combine(root, folder));
        if (!File.Exists(Path.Combine(root, "bin/busybox")))
            await InstallBusyboxAsync(root, busybox, qemu, cancellationToken);

        var identity = Path.Combine(root, "etc/machine-id");
        if (!File.Exists(identity))
            await File.WriteAllTextAsync(identity, Guid.NewGuid().ToString("N") + "\n", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/os-release"), "PRETTY_NAME=\"Emulated Arm board (busybox)\"\n", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/passwd"), $"board:x:0:0:board:{Home}:/bin/sh\n", cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(root, "etc/group"), "board:x:0:\n", cancellationToken);
        await File.WriteAllTextAsync(
            Path.Combine(root, "etc/agilequant-emulated"), $"user-mode emulation: {Path.GetFileName(qemu)} -cpu {cpu}\n", cancellationToken);
        await File.WriteAllTextAsync(root + CpuInfo, CpuInfoText(cpu, Environment.ProcessorCount), cancellationToken);
    }

    private static async Task InstallBusyboxAsync(string root, string busybox, string qemu, CancellationToken cancellationToken)
    {
        var list = await ToolProcess.RunAsync(qemu, [busybox, "--list"], TimeSpan.FromSeconds(30), cancellationToken);
        foreach (var name in list.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(n => n != "busybox"))
        {
            var link = Path.Combine(root, "bin", name);
            if (!File.Exists(link))
                File.CreateSymbolicLink(link, "busybox");
        }

        // Last, because its presence says that the rest is there.
        await PrivateFiles.CopyProgramAsync(busybox, Path.Combine(root, "bin/busybox"), cancellationToken);
    }

    // What Linux shows for these cores; qemu's user mode would let the host's own file through.
    private static string CpuInfoText(string cpu, int cores)
    {
        var (part, features) = cpu switch
        {
            "cortex-a53" => ("0xd03", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
            "cortex-a57" => ("0xd07", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
            "cortex-a72" => ("0xd08", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
            "cortex-a76" => ("0xd0b", "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"),
            _ => ("0x000", "fp asimd"),
        };
        return string.Join('\n', Enumerable.Range(0, cores).Select(i => $"""
            processor	: {i}
            Features	: {features}
            CPU implementer	: 0x41
            CPU architecture: 8
            CPU part	: {part}

            """));
    }
}
