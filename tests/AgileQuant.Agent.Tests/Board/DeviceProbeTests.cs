using System.Runtime.InteropServices;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.Board;

public sealed class DeviceProbeTests(LocalBoard board)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Probes_this_machine()
    {
        LocalBoard.SkipWithoutSshd();
        await using var shell = await LocalBoard.OpenSsh().ConnectAsync(board.Settings, Cancellation);
        var facts = await DeviceProbe.RunAsync(shell, Cancellation);
        facts.Architecture.ShouldBe(RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "linux-arm64" : "linux-x64");
        facts.CpuModel.ShouldNotBeEmpty();
        facts.CpuFeatures.ShouldNotBeEmpty();
        facts.Cores.Count.ShouldBeGreaterThanOrEqualTo(Environment.ProcessorCount);
        facts.MemoryBytes.ShouldBeGreaterThan(100L << 20);
        facts.HomeFolder.ShouldBe(board.Sshd.HomeFolder);
        facts.Kernel.ShouldBe((await File.ReadAllTextAsync("/proc/sys/kernel/osrelease", Cancellation)).Trim());
        facts.BootId.ShouldBe((await File.ReadAllTextAsync("/proc/sys/kernel/random/boot_id", Cancellation)).Trim());
        facts.DiskFreeBytes!.Value.ShouldBeGreaterThan(0);
        facts.MachineFingerprint.Length.ShouldBe(64);
        facts.IsAndroid.ShouldBeFalse();
        (await DeviceProbe.RunAsync(shell, Cancellation)).MachineFingerprint.ShouldBe(facts.MachineFingerprint);
    }

    [Fact]
    public void Reads_a_raspberry_pi()
    {
        var facts = ProbeAnswer.Interpret(ProbeAnswer.Split("""
            Welcome to your Pi!

            @@ system
            Linux
            @@ machine
            aarch64
            @@ kernel
            6.6.31+rpt-rpi-v8
            @@ hostname
            pi4
            @@ home
            /home/pi
            @@ os
            PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
            @@ android
            @@ cpuinfo
            CPU implementer	: 0x41
            CPU part	: 0xd08
            Features	: fp asimd evtstrm crc32 cpuid
            Model		: Raspberry Pi 4 Model B Rev 1.4
            @@ processors
            4
            @@ cores
            10 
            0 1800000
            1 1800000
            @@ memory
            MemTotal:        3884360 kB
            @@ governor
            ondemand
            @@ thermal
            thermal_zone0	cpu-thermal	48212
            thermal_zone1	broken	
            @@ disk
            Filesystem     1024-blocks    Used Available Capacity Mounted on
            /dev/a very long name
                              29913168 8012345  20365432      29% /
            @@ boot
            7c5b9a0e-0000-4000-8000-000000000000
            @@ model
            Raspberry Pi 4 Model B Rev 1.4
            @@ identity
            0123456789abcdef
            @@ emulation
            @@ end
            """));
        facts.Architecture.ShouldBe("linux-arm64");
        facts.CpuModel.ShouldBe("Cortex-A72");
        facts.CpuFeatures.ShouldBe(["asimd", "cpuid", "crc32", "evtstrm", "fp"]);
        facts.Cores.ShouldBe([new CpuCore(0, 1800000), new CpuCore(1, 1800000), new CpuCore(10, null)]);
        facts.MemoryBytes.ShouldBe(3884360L * 1024);
        facts.OsName.ShouldBe("Debian GNU/Linux 12 (bookworm)");
        facts.Model.ShouldBe("Raspberry Pi 4 Model B Rev 1.4");
        facts.Governor.ShouldBe("ondemand");
        facts.ThermalZones.ShouldBe([new ThermalZone("cpu-thermal", 48.212), new ThermalZone("broken", null)]);
        facts.DiskFreeBytes.ShouldBe(20365432L * 1024);
        facts.IsEmulated.ShouldBeFalse();
    }

    [Fact]
    public void A_board_that_shows_almost_nothing_still_has_facts()
    {
        var facts = ProbeAnswer.Interpret(ProbeAnswer.Split("@@ system\nLinux\n@@ machine\naarch64\n@@ android\nyes\n14\nNothing\nA063\n@@ end\n"));
        facts.IsAndroid.ShouldBeTrue();
        facts.OsName.ShouldBe("Android 14");
        facts.Model.ShouldBe("Nothing A063");
        facts.Cores.ShouldBe([new CpuCore(0, null)]);
        facts.ThermalZones.ShouldBeEmpty();
        facts.Governor.ShouldBeNull();
        facts.BootId.ShouldBeNull();
        facts.DiskFreeBytes.ShouldBeNull();
    }

    [Theory]
    [InlineData("Linux", "x86_64", "linux-x64")]
    [InlineData("Linux", "aarch64", "linux-arm64")]
    [InlineData("Linux", "armv7l", "unsupported")]
    [InlineData("Linux", "riscv64", "unsupported")]
    [InlineData("Darwin", "arm64", "unsupported")]
    public void Names_the_engine_target(string system, string machine, string target) =>
        ProbeAnswer.Architecture(system, machine).ShouldBe(target);
}
