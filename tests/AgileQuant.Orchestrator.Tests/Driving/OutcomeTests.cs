using System.Text;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Tests.Driving;

public sealed class OutcomeTests
{
    private static readonly JobSettings Settings = new(1, 100, null, "llama.cpp-4", null, 1, 1, 1, 0.02, 5, 0);
    private static readonly Guid Fp16 = Guid.NewGuid(), W8 = Guid.NewGuid();

    private const string KilledJournal = """
        {"seq":0,"ms":0,"event":"job","format":1,"attempt":"a","isa":"avx2","threads":2}
        {"seq":1,"ms":1,"event":"block","block":0,"state":"started","pack":"fp16","kind":"prefill","load_ms":8}
        {"seq":2,"ms":2,"event":"warmup","block":0,"index":0,"ns":111}
        {"seq":3,"ms":3,"event":"sample","block":0,"index":0,"ns":100,"tokens":64}
        {"seq":4,"ms":4,"event":"block","block":0,"state":"done","repetitions":1,"peak_rss":5}
        {"seq":5,"ms":5,"event":"telemetry","throttled":true}
        {"seq":6,"ms":6,"event":"block","block":1,"state":"started","pack":"w8a8","kind":"prefill"}
        {"seq":7,"ms":7,"event":"sample","block":1,"index":0,"ns":50,"tok
        """;

    [Fact]
    public void A_killed_engines_finished_blocks_are_kept_and_its_half_done_one_is_not()
    {
        var outcome = AttemptOutcome.FromJournal(AttemptOutcome.ReadJournal(Encoding.UTF8.GetBytes(KilledJournal)));
        outcome.Status.ShouldBe("lost");
        outcome.Isa.ShouldBe("avx2");
        outcome.Throttled.ShouldBeTrue();
        var block = outcome.Blocks.ShouldHaveSingleItem();
        block.Index.ShouldBe(0);
        block.Ns.ShouldBe([100]);
        block.WarmupNs.ShouldBe([111]);
        block.Tokens.ShouldBe(64);
        block.LoadMs.ShouldBe(8);
    }

    [Fact]
    public void A_failed_block_carries_the_engines_words()
    {
        const string journal = """
            {"seq":0,"ms":0,"event":"error","code":"model-corrupt","message":"the pack is cut off","block":3}
            {"seq":1,"ms":1,"event":"block","block":3,"state":"failed"}

            """;
        var block = AttemptOutcome.FromJournal(AttemptOutcome.ReadJournal(Encoding.UTF8.GetBytes(journal))).Blocks.ShouldHaveSingleItem();
        block.State.ShouldBe("failed");
        block.Reason.ShouldBe("the pack is cut off (model-corrupt)");
    }

    [Fact]
    public void Progress_counts_blocks_and_windows_and_never_falls()
    {
        var progress = new JobProgress(DateTimeOffset.UnixEpoch, blocks: 2, windows: 4);
        progress.Apply(new WindowEvent { Block = 0 });
        progress.Value.ShouldBe(0.125);
        progress.Apply(new BlockEvent { Block = 0, State = "done" });
        progress.Value.ShouldBe(0.5);
        progress.Apply(new TelemetryEvent { Ms = 1000, Busy = 0.5 });
        progress.TakePoints().ShouldHaveSingleItem().At.ShouldBe(DateTimeOffset.UnixEpoch.AddSeconds(1));
        progress.TakePoints().ShouldBeEmpty();
        new JobProgress(DateTimeOffset.UnixEpoch, 2, 4, resumed: 0.5).Value.ShouldBe(0.5);
    }

    private static BlockRow Row(int index, string precision, string state = "planned", string kind = "prefill", string? reason = null) => new()
    {
        Index = index,
        Round = index / 2,
        RunId = precision == "fp16" ? Fp16 : W8,
        Precision = precision,
        Kind = kind,
        State = state,
        Reason = reason,
        Tokens = 100,
    };

    private static StagedBlock Done(int index, string state = "done") => new(index, state, null, 100, 1, 1, [1_000_000], []);

    private static OutcomeInput Timing(IReadOnlyList<BlockRow> rows, params StagedBlock[] outcome) => new(
        new JobRow { Kind = "timing", Settings = Json.Write(Settings) }, rows, [], new AttemptOutcome("done", outcome, new Dictionary<int, NllFile>(), "avx2", null),
        1, [], null, null, new Dictionary<Guid, Dictionary<int, float[]>>(), 0);

    [Fact]
    public void Speed_is_a_result_only_when_its_own_blocks_and_the_baselines_are_complete()
    {
        BlockRow[] rows = [Row(0, "fp16"), Row(1, "w8a8"), Row(2, "w8a8"), Row(3, "fp16")];
        OutcomeStaging.Make(Timing(rows, Done(0), Done(1), Done(2), Done(3))).Results.Select(r => r.RunId).ShouldBe([Fp16, W8], ignoreOrder: true);
        OutcomeStaging.Make(Timing(rows, Done(0), Done(1), Done(2))).Results.ShouldBeEmpty("a baseline block is missing");
        OutcomeStaging.Make(Timing(rows, Done(0), Done(1), Done(3), Done(2, "failed"))).Results.ShouldHaveSingleItem().RunId.ShouldBe(Fp16);
    }

    [Fact]
    public void Blocks_of_earlier_attempts_count()
    {
        BlockRow[] rows = [Row(0, "fp16", "done"), Row(1, "w8a8", "done"), Row(2, "w8a8"), Row(3, "fp16", "done")];
        var samples = new[] { 0, 1, 3 }.Select(b => new SampleRow { Block = b, Ns = 2_000_000 }).ToList();
        var staged = OutcomeStaging.Make(Timing(rows, Done(2)) with { Samples = samples });
        staged.Blocks.ShouldHaveSingleItem().Index.ShouldBe(2);
        var speed = Json.Read<SpeedView>(staged.Results.Single(r => r.RunId == W8).Figures)!;
        speed.Prefill!.Repetitions.ShouldBe(2);
        speed.Prefill.Speedup!.PairedBlocks.ShouldBe(2);
    }

    [Fact]
    public void An_impossible_baseline_leaves_speeds_without_speedup()
    {
        BlockRow[] rows = [Row(0, "fp16", "impossible", reason: "no baseline: needs 9.0 GiB"), Row(1, "w8a8")];
        var result = OutcomeStaging.Make(Timing(rows, Done(1))).Results.ShouldHaveSingleItem();
        Json.Read<SpeedView>(result.Figures)!.Prefill!.SpeedupNote.ShouldBe("no baseline: needs 9.0 GiB");
    }

    [Fact]
    public void Perplexity_is_compared_with_the_baseline_of_the_same_windows()
    {
        var folder = Directory.CreateTempSubdirectory("nll");
        try
        {
            string Write(string name, params float[] values)
            {
                var path = Path.Combine(folder.FullName, name);
                File.WriteAllBytes(path, FloatBytes.Write(values));
                return path;
            }

            BlockRow[] rows = [Row(0, "fp16", kind: "perplexity"), Row(1, "w8a8", kind: "perplexity")];
            var files = new Dictionary<int, NllFile> { [0] = new(Write("0", 1, 2), 2, 1), [1] = new(Write("1", 1.1f, 2.1f), 2, 1) };
            var input = new OutcomeInput(
                new JobRow { Kind = "perplexity", Settings = Json.Write(Settings) }, rows, [],
                new AttemptOutcome("done", [Done(0), Done(1)], files, "avx2", null), 1, [], null, null, new Dictionary<Guid, Dictionary<int, float[]>>(), 8);
            var staged = OutcomeStaging.Make(input);
            staged.Windows.Count.ShouldBe(4);
            var view = Json.Read<PerplexityView>(staged.Results.Single(r => r.RunId == W8).Figures)!;
            view.Name.ShouldBe("llama.cpp-4[all 2]");
            view.DeltaPercent!.Value.ShouldBe(100 * (Math.Exp(0.1) - 1), 1e-4);
        }
        finally
        {
            folder.Delete(true);
        }
    }
}
