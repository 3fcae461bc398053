using AgileQuant.Orchestrator.Contracts;
using static AgileQuant.Dashboard.Tests.Fakes.FakeDevices;

namespace AgileQuant.Dashboard.Tests.Fakes;

/// <summary>Runs with figures of plausible size, derived from their names so that they never change.</summary>
internal static class FakeRuns
{
    private static readonly Dictionary<string, double> Fp16Generation = new()
    {
        ["minipc-n100"] = 21.4,
        ["pi5"] = 12.9,
        ["pi4"] = 6.1,
        ["orangepi5"] = 14.2,
    };

    private static readonly Dictionary<string, (double Generation, double Prefill, double Delta)> Effect = new()
    {
        ["fp16"] = (1, 1, 0),
        ["w8a8"] = (1.82, 2.31, 0.14),
        ["w4a8"] = (2.94, 2.12, 2.31),
        ["w4a4"] = (2.71, 2.64, 9.8),
    };

    internal static RunSummaryView Cell(
        Guid matrix, DeviceView device, string model, bool random, string precision, WorkloadSpec workload, RunState state, string? reason = null)
    {
        var done = state is RunState.Complete;
        var speed = workload.Prompt is not null || workload.Generate is not null;
        return new(Id($"{matrix}/{device.Name}/{model}/{precision}/{workload.Name}"), matrix, device.Id, device.Name, device.Kind, model, random,
            precision, workload.Name, state, reason,
            done && speed && device.Kind is DeviceKind.Real ? Speed(device.Name, precision, workload) : null,
            done && workload.Dataset is not null ? Perplexity(device.Name, precision, workload) : null,
            done && speed && device.Kind is DeviceKind.Real ? Grade(device.Name) : null,
            precision == "fp16" ? 301_000_000 : precision == "w8a8" ? 171_000_000 : 112_000_000);
    }

    internal static SpeedView Speed(string device, string precision, WorkloadSpec workload)
    {
        var generation = Fp16Generation.GetValueOrDefault(device, 9.5);
        var (g, p, _) = Effect.GetValueOrDefault(precision, (1.5, 1.5, 1));
        var jitter = 1 + ((Id(device + precision).GetHashCode() % 100) / 1500.0);
        return new(
            workload.Prompt is null ? null : Rate(generation * 7.3, p * jitter, precision),
            workload.Generate is null ? null : Rate(generation, g * jitter, precision),
            precision == "fp16" ? 402_000_000 : 218_000_000, device.StartsWith("mini", StringComparison.Ordinal) ? "avx2" : "neon", 4);
    }

    private static RateView Rate(double fp16, double ratio, string precision) =>
        new(fp16 * (precision == "fp16" ? 1 : ratio), 0.8, 18, precision == "w4a8" ? 1 : 0, fp16 * ratio * 1.04, fp16 * ratio * 0.97,
            precision == "fp16" ? null : new(ratio, ratio * 0.965, ratio * 1.031, 6), null);

    internal static PerplexityView Perplexity(string device, string precision, WorkloadSpec workload)
    {
        var delta = Effect.GetValueOrDefault(precision, (1, 1, 1)).Delta;
        var name = $"{workload.Convention}[0:{workload.Windows}]";
        return new(name, 9.482 * (1 + (delta / 100)), 0.21, precision == "fp16" ? null : delta, precision == "fp16" ? null : 0.09 + (delta / 20),
            device == "qemu-a72" ? 0.0031 : 0.0009,
            new($"{workload.Convention}[all 192]", 9.377 * (1 + (delta / 98)), 0.05, precision == "fp16" ? null : delta * 1.02, precision == "fp16" ? null : 0.03, 192));
    }

    private static GradeView Grade(string device) => device switch
    {
        "minipc-n100" => new('A', ["Spread 0.8% of the median over 18 repetitions", "No drift between first and last block", "Clock at its maximum 99% of the time"]),
        "pi5" => new('B', ["Spread 1.9% of the median", "Started 3.1 °C above idle", "Clock at its maximum 94% of the time"]),
        _ => new('C', ["Drift: the last third is 3.4% slower than the first", "Clock at its maximum 81% of the time", "Background load 0.21 before the start"]),
    };

    internal static RunDetailView Detail(RunSummaryView run, WorkloadSpec? workload)
    {
        var random = new Random(run.Id.GetHashCode());
        var rates = new[] { ("prefill", run.Speed?.Prefill), ("generate", run.Speed?.Generation) };
        var blocks = rates.Where(r => r.Item2 is not null).SelectMany((r, k) => Enumerable.Range(0, 6).SelectMany(round =>
            new[] { true, false }.Where(b => !b || run.Precision != "fp16").Select(baseline =>
                Block((k * 12) + (round * 2) + (baseline ? 0 : 1), baseline ? "fp16" : run.Precision, r.Item1, baseline,
                    baseline ? r.Item2!.Median / (r.Item2.Speedup?.Ratio ?? 1) : r.Item2!.Median, r.Item1 == "prefill" ? workload?.Prompt ?? 512 : workload?.Generate ?? 64, random))));
        var windows = run.Perplexity is null ? [] : Enumerable.Range(0, workload?.Windows ?? 8).Select(w =>
        {
            var nll = 2.1 + (random.NextDouble() * 0.35);
            var shift = Math.Log(1 + ((run.Perplexity.DeltaPercent ?? 0) / 100)) * (0.7 + (0.6 * random.NextDouble()));
            return new WindowView(w, nll + shift, run.Precision == "fp16" ? null : nll);
        });
        return new(run, [.. blocks], Attempts(run), run.Speed is null ? [] : Telemetry(run.Device, 180, false), [.. windows], Provenance(run));
    }

    private static BlockView Block(int index, string precision, string kind, bool baseline, double rate, int tokens, Random random) =>
        new(index, precision, kind, baseline, tokens, [.. Enumerable.Range(0, 3).Select(i =>
        {
            var outlier = !baseline && index == 5 && i == 1;
            var speed = rate * (1 + ((random.NextDouble() - 0.5) * 0.025)) * (outlier ? 0.86 : 1);
            return new SampleView(i, (long)(tokens / speed * 1e9), speed, outlier);
        })], 2, 640 + (random.NextDouble() * 90));

    private static List<AttemptView> Attempts(RunSummaryView run) => run.State is RunState.Waiting or RunState.Packing or RunState.Queued ? [] :
    [
        new(Id(run.Id + "/1"), "timing", 1, "lost", "The board rebooted (its boot id changed). Finished blocks are kept.", 2, "bench-host", Now.AddMinutes(-22), Now.AddMinutes(-19)),
        new(Id(run.Id + "/2"), "timing", 2, run.State is RunState.Running ? "running" : "done", null, 3, "bench-host", Now.AddMinutes(-18), run.State is RunState.Running ? null : Now.AddMinutes(-9)),
    ];

    private static ProvenanceView Provenance(RunSummaryView run) =>
        new("0.1.0", EngineSha, "musl-gcc 13.2 -O3 2026-03-12", run.Speed?.Isa ?? "neon", Hex(run.Model + run.Precision),
            $"{{\"group\":32,\"method\":\"rtn\",\"precision\":\"{run.Precision}\"}}", Hex(run.Model), Hex("wiki"),
            $"agilequant-plan 1\nattempt {Id(run.Id + "/2")}\nkind timing\nthreads 4\nisa auto\ncontext 1024\nubatch 512\npack fp16 {Hex(run.Model + "fp16")}\npack {run.Precision} {Hex(run.Model + run.Precision)}\nprompt 512\ngenerate 64\nblock 0 fp16 prefill 1 3\nblock 1 {run.Precision} prefill 1 3",
            "9e02d41b77c35a18", "6.6.62+rpt-rpi-v8", "0d9a4c6e-7a51-4f0e-8f61-3f1f0c2b9d11", "OpenSSH", "7b0f6f0e-7d5b-4f5c-9a53-0c2b1e9d4a77");

    internal static string Hex(string name) =>
        Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(name)));
}
