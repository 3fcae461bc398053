using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;

namespace AgileQuant.EndToEnd.Tests.Reports;

/// <summary>A matrix with a real board, an emulated one, a trained and a random model, and a name that tries to break out.</summary>
internal static class SampleReport
{
    public const string HostileName = "pi <script>alert(1)</script> | shelf";
    public static readonly DateTimeOffset At = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly Guid MatrixId = Guid.Parse("11111111-1111-1111-1111-111111111111");
    private static int _next;

    public static ReportModel Create()
    {
        _next = 0;
        var runs = new List<RunSummaryView>
        {
            Quality("pi4", DeviceKind.Real, "fp16", null),
            Quality("pi4", DeviceKind.Real, "w4a4", 3.25),
            Quality("arm", DeviceKind.Emulated, "fp16", null),
            Quality("arm", DeviceKind.Emulated, "w4a4", 3.25),
            Speed("fp16", 100, null),
            Speed("w4a4", 250, new SpeedupView(2.5, 2.4, 2.6, 6)),
        };
        var spec = new MatrixSpec(HostileName, ["pi4", "arm"], ["docs", "random"], ["fp16", "w4a4"],
            [
                new WorkloadSpec("quality", ["docs"], null, null, 0, "text", "llama.cpp-512", 8),
                new WorkloadSpec("speed", ["random"], 128, 16, 0, null, null, null),
            ], new PolicySpec());
        var summary = new MatrixSummaryView(MatrixId, HostileName, MatrixState.Complete, At, At.AddMinutes(3), runs.Count, runs.Count, 0, "cli");
        runs.Reverse(); // the report orders by the spec, not by the database
        return ReportModel.Create(
            new MatrixView(summary, spec, runs, []), runs.Select(Detail),
            new StatusView("0.1.0", Guid.Parse("22222222-2222-2222-2222-222222222222"), "Postgres leases", "OpenSSH", [], "embedded", []),
            At.AddHours(1));
    }

    private static RunSummaryView Quality(string device, DeviceKind kind, string precision, double? delta) => new(
        Id(), MatrixId, Guid.Empty, device, kind, "docs", false, precision, "quality", RunState.Complete, null,
        // The database should not hold a speed for an emulated board; the report must not show it even then.
        kind == DeviceKind.Emulated ? new SpeedView(Rate(777, null), Rate(777, null), 777, "neon", 4) : null,
        new PerplexityView("llama.cpp-512[0:8]", 12.5, 0.5, delta, delta is null ? null : 0.4, 1e-5,
            new FullPerplexityView("llama.cpp-512[all 192]", 12.25, 0.1, delta, delta is null ? null : 0.2, 192)),
        null, 10L << 20);

    private static RunSummaryView Speed(string precision, double rate, SpeedupView? speedup) => new(
        Id(), MatrixId, Guid.Empty, "pi4", DeviceKind.Real, "random", true, precision, "speed", RunState.Complete, null,
        new SpeedView(Rate(rate, speedup), Rate(rate / 4, speedup is null ? null : speedup with { Low = null, High = null, PairedBlocks = 3 }), 300L << 20, "neon", 4),
        new PerplexityView("llama.cpp-512[0:8]", 999.125, null, null, null, null, null), // random weights have none; must not be shown
        new GradeView('B', ["no temperature is shown"]), 290L << 20);

    private static RateView Rate(double median, SpeedupView? speedup) => new(median, 1.5, 12, 1, median, median * 0.98, speedup, null);

    private static RunDetailView Detail(RunSummaryView run) => new(
        run, [new BlockView(0, run.Precision, "prefill", false, 128, [new SampleView(0, 1_280_000_000, 100, false)], 1, 12)],
        [], [], [new WindowView(0, 2.5, 2.4)],
        new ProvenanceView("0.1.0", "e1e1", "gcc", "neon", "a2a2", "{}", "b3b3", "c4c4", "plan", "board-1", "6.6", "boot", "OpenSSH", "2222"));

    private static Guid Id() => new(++_next, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]);
}
