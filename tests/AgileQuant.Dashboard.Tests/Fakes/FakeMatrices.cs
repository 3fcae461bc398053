using AgileQuant.Orchestrator.Contracts;
using static AgileQuant.Dashboard.Tests.Fakes.FakeDevices;

namespace AgileQuant.Dashboard.Tests.Fakes;

internal static class FakeMatrices
{
    private static readonly WorkloadSpec Speed = new("speed", ["random-150m"], 512, 64, 0, null, null, null);
    private static readonly WorkloadSpec Quality = new("quality", ["sample-llama"], null, null, 0, "sdk-heldout", "llama.cpp-512", 8);

    internal static readonly MatrixSpec ShelfSpec = new(
        "shelf-week-11", ["minipc-n100", "pi5", "pi4", "orangepi5", "qemu-a72", "jetson-nano"], ["sample-llama", "random-150m"],
        ["fp16", "w8a8", "w4a8", "w4a4"], [Speed, Quality], new());

    internal static List<MatrixView> All(IReadOnlyList<DeviceView> devices)
    {
        var done = ShelfSpec with { Name = "pi5-vs-n100", Devices = ["minipc-n100", "pi5"] };
        return
        [
            Build(ShelfSpec, devices, MatrixState.Running, Now.AddMinutes(-24), ShelfState),
            Build(done, devices, MatrixState.Complete, Now.AddDays(-2), (_, _, _) => (RunState.Complete, null)),
            Build(ShelfSpec with { Name = "first-try", Devices = ["pi4"] }, devices, MatrixState.Cancelled, Now.AddDays(-5),
                (_, p, _) => p == "fp16" ? (RunState.Complete, null) : (RunState.Cancelled, "Cancelled by dashboard")),
        ];
    }

    private static (RunState, string?) ShelfState(string device, string precision, WorkloadSpec workload) => (device, precision, workload.Name) switch
    {
        ("minipc-n100", _, _) => (RunState.Complete, null),
        ("pi5", "w4a4", "speed") => (RunState.Packing, "Quantizing and packing w4a4 on bench-host"),
        ("pi5", "w4a8", "speed") => (RunState.Running, "Block 7 of 36"),
        ("pi5", _, _) => (RunState.Complete, null),
        ("pi4", "fp16", "speed") => (RunState.Incomplete, "no baseline: needs 4.2 GiB, the board has 3.8 GiB"),
        ("pi4", _, "quality") => (RunState.Running, "Window 3 of 8"),
        ("pi4", _, _) => (RunState.Queued, "After the perplexity job of this board"),
        ("orangepi5", _, _) => (RunState.Queued, "Cooling: 61.2 °C, waiting for 48.0 °C"),
        ("qemu-a72", _, "speed") => (RunState.Cancelled, "Emulated boards run no timing jobs"),
        ("qemu-a72", _, _) => (RunState.Complete, null),
        _ => (RunState.Waiting, "jetson-nano is offline; tried again every 5 minutes"),
    };

    internal static MatrixView Build(
        MatrixSpec spec, IReadOnlyList<DeviceView> devices, MatrixState state, DateTimeOffset at,
        Func<string, string, WorkloadSpec, (RunState State, string? Reason)> stateOf, string by = "dashboard")
    {
        var id = Id("matrix/" + spec.Name);
        var runs = (from device in spec.Devices
                    from workload in spec.Workloads
                    from model in spec.Models.Where(m => workload.Models.Count == 0 || workload.Models.Contains(m))
                    from precision in spec.Precisions
                    let cell = stateOf(device, precision, workload)
                    select FakeRuns.Cell(id, devices.First(d => d.Name == device), model, model.Contains("random"), precision, workload, cell.State, cell.Reason)).ToList();
        return Summarize(new(new(id, spec.Name, state, at, state is MatrixState.Running ? null : at.AddMinutes(41), 0, 0, 0, by), spec, runs, Jobs(spec, runs, at)));
    }

    private static List<JobView> Jobs(MatrixSpec spec, List<RunSummaryView> runs, DateTimeOffset at) =>
    [
        .. spec.Models.SelectMany(m => spec.Precisions.Select(p => new JobView(Id($"{spec.Name}/pack/{m}/{p}"), "pack", null, m, p,
            m == "random-150m" && p == "w4a4" && spec.Name == "shelf-week-11" ? "running" : "done", null, 1, m == "random-150m" && p == "w4a4" ? 0.62 : 1, at, at, at.AddMinutes(1)))),
        .. runs.GroupBy(r => (r.Device, r.Model, r.Workload)).Select(g => new JobView(Id($"{spec.Name}/{g.Key}"),
            g.Key.Workload == "quality" ? "perplexity" : "timing", g.Key.Device, g.Key.Model, null,
            g.Any(r => r.State is RunState.Running) ? "running" : g.All(r => r.State is RunState.Complete) ? "done" : g.Any(r => r.State is RunState.Cancelled) ? "cancelled" : "queued",
            g.FirstOrDefault(r => r.Reason is not null)?.Reason, g.Any(r => r.State is RunState.Running or RunState.Complete) ? 1 : 0,
            g.Count(r => r.State is RunState.Complete) / (double)g.Count(), at, g.Any(r => r.State is RunState.Running or RunState.Complete) ? at.AddMinutes(3) : null, null)),
    ];

    private static MatrixView Summarize(MatrixView matrix) => matrix with
    {
        Summary = matrix.Summary with
        {
            Runs = matrix.Runs.Count,
            Complete = matrix.Runs.Count(r => r.State is RunState.Complete),
            Failed = matrix.Runs.Count(r => r.State is RunState.Incomplete),
            Skipped = matrix.Runs.Count(r => r.State is RunState.Skipped),
        },
    };

    internal static MatrixPlanView Plan(MatrixSpec spec, IReadOnlyList<ModelView> models)
    {
        if (spec.Devices.Count == 0 || spec.Models.Count == 0)
        {
            throw new UserErrorException("Pick at least one device and one model.");
        }

        var runs = spec.Workloads.Sum(w => spec.Devices.Count * spec.Precisions.Count * spec.Models.Count(m => w.Models.Count == 0 || w.Models.Contains(m)));
        var warnings = new List<string>();
        if (spec.Policy.Rounds < 6)
        {
            warnings.Add($"{spec.Policy.Rounds} rounds give too few paired blocks for an interval: use at least 6.");
        }

        if (!spec.Precisions.Contains("fp16"))
        {
            warnings.Add("Without fp16 there is no baseline: no speedup and no difference in perplexity.");
        }

        return new(runs, spec.Workloads.Count(w => w.Prompt is not null || w.Generate is not null) * spec.Devices.Count,
            spec.Workloads.Count(w => w.Dataset is not null) * spec.Devices.Count * spec.Models.Count,
            models.Where(m => spec.Models.Contains(m.Name)).Sum(m => m.Packs.Count(p => p.State != "ready")), warnings);
    }

    internal static MatrixView Start(MatrixSpec spec, string by, IReadOnlyList<DeviceView> devices, IReadOnlyList<ModelView> models)
    {
        _ = models;
        return Build(spec, devices, MatrixState.Running, Now, (_, _, _) => (RunState.Queued, null), by);
    }

    internal static MatrixView Cancel(MatrixView matrix) => Summarize(matrix with
    {
        Summary = matrix.Summary with { State = MatrixState.Cancelled, FinishedAt = Now },
        Runs = [.. matrix.Runs.Select(r => r.State is RunState.Complete or RunState.Incomplete or RunState.Skipped ? r : r with { State = RunState.Cancelled, Reason = "Cancelled by dashboard" })],
    });

    internal static MatrixView Advance(MatrixView matrix, IReadOnlyList<DeviceView> devices, out bool more)
    {
        var next = matrix.Runs.FirstOrDefault(r => r.State is not (RunState.Complete or RunState.Incomplete or RunState.Cancelled or RunState.Skipped));
        more = next is not null;
        if (next is null)
        {
            return matrix with { Summary = matrix.Summary with { State = MatrixState.Complete, FinishedAt = Now } };
        }

        var workload = matrix.Spec.Workloads.First(w => w.Name == next.Workload);
        var done = FakeRuns.Cell(matrix.Summary.Id, devices.First(d => d.Name == next.Device), next.Model, next.RandomWeights, next.Precision, workload, RunState.Complete);
        return Summarize(matrix with { Runs = [.. matrix.Runs.Select(r => r.Id == next.Id ? done : r)] });
    }
}
