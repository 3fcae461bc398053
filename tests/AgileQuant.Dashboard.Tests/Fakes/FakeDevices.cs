using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Dashboard.Tests.Fakes;

/// <summary>A shelf of boards in every state, with facts as their probes would report them.</summary>
internal static class FakeDevices
{
    internal static readonly DateTimeOffset Now = new(2026, 3, 14, 9, 30, 0, TimeSpan.Zero);

    internal const string EngineSha = "5d3c0f8a71b94e6f0a2d9b1c7e8f4a3b6c5d0e9f8a7b1c2d3e4f5a6b7c8d9e0f";

    internal static List<DeviceView> Shelf() =>
    [
        Device("minipc-n100", "bench@10.0.4.21", DeviceState.Ready, null, N100("x86_64"), Passed("avx2", "avx-vnni")),
        Device("pi4", "pi@10.0.4.11", DeviceState.Busy, null, Pi(4, "Cortex-A72", 1800, 4L << 30), Passed("neon"), "perplexity · sample-llama"),
        Device("pi5", "pi@10.0.4.12:2222", DeviceState.Busy, null, Pi(4, "Cortex-A76", 2400, 8L << 30), Passed("neon", "dotprod"), "timing · random-150m"),
        Device("orangepi5", "orangepi@10.0.4.14", DeviceState.Cooling,
            "61.2 °C, waiting for 48.0 °C (idle 43.0 °C + 5 °C), at most 3 more minutes", Pi(8, "Cortex-A76 + A55", 2400, 16L << 30), Passed("neon", "dotprod")),
        Device("qemu-a72", "bench@127.0.0.1:2291", DeviceState.Ready, null, Pi(2, "Cortex-A72 (qemu)", null, 2L << 30), Passed("neon"), kind: DeviceKind.Emulated),
        Device("jetson-nano", "nvidia@10.0.4.17", DeviceState.Offline,
            "ssh: connect to host 10.0.4.17 port 22: No route to host. Tried 6 times; next try in 4 minutes.", Pi(4, "Cortex-A57", 1430, 4L << 30), Passed("neon")),
        Device("pixel6", "u0_a211@10.0.4.31:8022", DeviceState.Bad,
            "Self-test failed: w4a8 dotprod differs from the scalar kernel in 3 of 512 cases. Figures of this board are not accepted.",
            Pi(8, "Cortex-X1 + A76 + A55", 2802, 8L << 30), Failed()),
        Device("rock5b", "rock@10.0.4.18", DeviceState.Registering, "Pushing the engine (linux-arm64, 1.0 MB)", null, null),
    ];

    internal static DeviceView Device(
        string name, string address, DeviceState state, string? reason, DeviceFactsView? facts, SelfTestView? test,
        string? job = null, DeviceKind kind = DeviceKind.Real) =>
        new(Id("device/" + name), name, address, kind, state, reason, "SHA256:Zk3v9mQ1cXr8bT0sWnY5uE7oLpAaJdHfGiKxN2VqB4M",
            state is DeviceState.Offline ? null : "bench-host", 3, job, Now.AddDays(-12),
            state is DeviceState.Registering ? null : state is DeviceState.Offline ? Now.AddHours(-5) : Now.AddSeconds(-4), facts, test);

    internal static DeviceFactsView N100(string machine) =>
        new("linux-x64", "Intel(R) N100", ["sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "gfni"],
            [.. Enumerable.Range(0, 4).Select(i => new CoreView(i, 3400))], 16L << 30, $"Debian GNU/Linux 13 ({machine})", "6.12.41-amd64",
            "performance", [new("x86_pkg_temp", 41), new("acpitz", 27.8)], 412L << 30, "6f9c2b0e-5f6c-4d0b-9f0a-2d1f5c7b8a90", "b41c77d0aa31f0e2");

    internal static DeviceFactsView Pi(int cores, string cpu, double? mhz, long memory) =>
        new("linux-arm64", cpu, mhz is > 2000 ? ["asimd", "fp", "aes", "crc32", "asimddp", "fphp", "asimdhp"] : ["asimd", "fp", "crc32"],
            [.. Enumerable.Range(0, cores).Select(i => new CoreView(i, mhz))], memory, "Debian GNU/Linux 12 (bookworm)", "6.6.62+rpt-rpi-v8",
            mhz is null ? null : "ondemand", mhz is null ? [] : [new("cpu-thermal", 47.2)], 21L << 30, "0d9a4c6e-7a51-4f0e-8f61-3f1f0c2b9d11", "9e02d41b77c35a18");

    private static SelfTestView Passed(params string[] isas) =>
        new(true, "0.1.0", EngineSha, isas[^1], Now.AddDays(-1),
        [
            new("fp16 gemm", isas[0], 256, true, null), new("w8a8 gemm", isas[^1], 512, true, null),
            new("w4a8 gemm", isas[^1], 512, true, null), new("w4a4 gemm", isas[0], 512, true, null),
            new("quantize 8", isas[0], 384, true, null), new("quantize 4", isas[0], 384, true, null), new("attention", isas[0], 64, true, null),
        ]);

    private static SelfTestView Failed() =>
        new(false, "0.1.0", EngineSha, "dotprod", Now.AddDays(-1),
        [
            new("fp16 gemm", "neon", 256, true, null), new("w8a8 gemm", "dotprod", 512, true, null),
            new("w4a8 gemm", "dotprod", 512, false, "3 of 512 cases differ; first: m=7 n=33 k=96, accumulator 1412 instead of 1404"),
            new("w4a4 gemm", "neon", 512, true, null),
        ]);

    /// <summary>The same id for the same name in every run of the tests.</summary>
    internal static Guid Id(string name) =>
        new(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(name)).AsSpan(0, 16));

    internal static List<TelemetryPoint> Telemetry(string name, int points, bool emulated)
    {
        var random = new Random(name.Length * 7919);
        return [.. Enumerable.Range(0, points).Select(i =>
        {
            var load = i % 60 is > 15 and < 50 ? 1.0 : 0.04;
            var heat = 43 + (14 * Math.Clamp((i % 60 - 15) / 30.0, 0, 1)) - (i % 60 >= 50 ? (i % 60 - 50) * 1.2 : 0);
            return new TelemetryPoint(Now.AddSeconds((i - points) * 5), emulated ? null : heat + random.NextDouble(),
                emulated ? null : 1500 + (load * 900) + (random.NextDouble() * 30), Math.Min(1, load + (random.NextDouble() * 0.03)),
                (long)((3.1 - load) * (1L << 30)), null);
        })];
    }
}
