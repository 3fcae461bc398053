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
    private static readonly Guid Fp16 = Guid.NewGuid(), W8 = Guid.NewGuid(), Attempt = Guid.NewGuid(), Earlier = Guid.NewGuid();

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
        AttemptId = state == "done" ? Earlier : null,
        Tokens = 100,
    };

    private static StagedBlock Done(int index, string state = "done") => new(index, state, null, 100, 1, 1, [1_000_000], []);

    private static OutcomeInput Timing(IReadOnlyList<BlockRow> rows, params StagedBlock[] outcome) => new(
        Attempt, new JobRow { Kind = "timing", Settings = Json.Write(Settings) }, rows, [], new AttemptOutcome("done", outcome, new Dictionary<int, NllFile>(), "avx2", null),
        1, [], new Dictionary<Guid, GateRecord>(), null, new Dictionary<Guid, Dictionary<int, float[]>>(), 0);

    [Fact]
    public void Speed_is_a_result_only_when_its_own_blocks_and_the_baselines_are_complete()
    {
        BlockRow[] rows = [Row(0, "fp16"), Row(1, "w8a8"), Row(2, "w8a8"), Row(3, "fp16")];
        OutcomeStaging.Make(Timing(rows, Done(0), Done(1), Done(2), Done(3))).Results.Select(r => r.RunId).ShouldBe([Fp16, W8], ignoreOrder: true);
        OutcomeStaging.Make(Timing(rows, Done(0), Done(1), Done(2))).Results.ShouldBeEmpty("a baseline block is missing");
        OutcomeStaging.Make(Timing(rows, Done(0), Done(1), Done(3), Done(2, "failed"))).Results.ShouldHaveSingleItem().RunId.ShouldBe(Fp16);
    }

    [Fact]
    public void Blocks_of_earlier_attempts_count_but_are_never_paired_with_those_of_another_attempt()
    {
        BlockRow[] rows = [Row(0, "fp16", "done"), Row(1, "w8a8", "done"), Row(2, "w8a8"), Row(3, "fp16", "done")];
        var samples = new[] { 0, 1, 3 }.Select(b => new SampleRow { Block = b, Ns = 2_000_000 }).ToList();
        var staged = OutcomeStaging.Make(Timing(rows, Done(2)) with { Samples = samples });
        staged.Blocks.ShouldHaveSingleItem().Index.ShouldBe(2);
        var speed = Json.Read<SpeedView>(staged.Results.Single(r => r.RunId == W8).Figures)!;
        speed.Prefill!.Repetitions.ShouldBe(2);
        speed.Prefill.Speedup!.PairedBlocks.ShouldBe(1, "the second round's fp16 block is of the earlier attempt");
    }

    [Fact]
    public void The_grade_takes_the_worst_start_of_all_attempts_that_gave_blocks()
    {
        BlockRow[] rows = [Row(0, "fp16", "done"), Row(1, "w8a8", "done"), Row(2, "w8a8"), Row(3, "fp16")];
        var samples = new[] { 0, 1 }.Select(b => new SampleRow { Block = b, Ns = 1_000_000 }).ToList();
        static GateRecord Gate(double busy, string? note) => new(new(40, busy, null, null, null), new(40, null), note);
        var gates = new Dictionary<Guid, GateRecord> { [Earlier] = Gate(0.29, "its host was used by others"), [Attempt] = Gate(0, null) };
        var staged = OutcomeStaging.Make(Timing(rows, Done(2), Done(3)) with { Samples = samples, Gates = gates });
        var grade = Json.Read<GradeView>(staged.Results.Single(r => r.RunId == W8).Grade)!;
        grade.Reasons.ShouldContain(r => r.Contains("others used 29"));
        grade.Reasons.ShouldContain("its host was used by others");
    }

    [Theory]
    [InlineData(0, "no baseline: ")]
    [InlineData(1, "does not fit: ")]
    public void A_block_that_does_not_fit_the_memory_is_impossible_and_the_other_precisions_keep_their_speed(int block, string words)
    {
        // The code is the engine's own: engine/native/src/model.c.
        var journal = $$"""
            {"seq":0,"ms":0,"event":"error","code":"memory","message":"the pack needs 9.00 GiB, the board has 2.00 GiB available","block":{{block}}}
            {"seq":1,"ms":1,"event":"block","block":{{block}},"state":"failed"}
            {"seq":2,"ms":2,"event":"sample","block":{{1 - block}},"index":0,"ns":100,"tokens":64}
            {"seq":3,"ms":3,"event":"block","block":{{1 - block}},"state":"done"}

            """;
        var outcome = AttemptOutcome.FromJournal(AttemptOutcome.ReadJournal(Encoding.UTF8.GetBytes(journal)));
        outcome.Blocks.Single(b => b.Index == block).State.ShouldBe("impossible");
        var staged = OutcomeStaging.Make(Timing([Row(0, "fp16"), Row(1, "w8a8")]) with { Outcome = outcome });
        staged.Blocks.Single(b => b.Index == block).Reason!.ShouldStartWith(words + "the pack needs 9.00 GiB");
        var speed = Json.Read<SpeedView>(staged.Results.ShouldHaveSingleItem().Figures)!.Prefill!;
        speed.Median.ShouldBeGreaterThan(0);
        speed.Speedup.ShouldBeNull();
    }

    [Fact]
    public void An_impossible_baseline_leaves_speeds_without_speedup()
    {
        BlockRow[] rows = [Row(0, "fp16", "impossible", reason: "no baseline: needs 9.0 GiB"), Row(1, "w8a8")];
        var result = OutcomeStaging.Make(Timing(rows, Done(1))).Results.ShouldHaveSingleItem();
        Json.Read<SpeedView>(result.Figures)!.Prefill!.SpeedupNote.ShouldBe("no baseline: needs 9.0 GiB");
    }

    [Fact]
    public void A_pruned_run_has_three_perplexities_and_its_difference_counts_every_token()
    {
        var folder = Directory.CreateTempSubdirectory("nll");
        try
        {
            string Write(string name, byte[] bytes)
            {
                var path = Path.Combine(folder.FullName, name);
                File.WriteAllBytes(path, bytes);
                return path;
            }

            NllFile File0(byte[]? mask) => new(Write("1", FloatBytes.Write([1, 4])), 2, 1, mask is null ? null : Write("1.u8", mask));
            OutcomeInput Input(NllFile pruned) => Scored("w8a8+prune0.2", new() { [0] = new(Write("0", FloatBytes.Write([1, 2])), 2, 1), [1] = pruned });

            var staged = OutcomeStaging.Make(Input(File0([1, 0])));
            var view = Json.Read<PerplexityView>(staged.Results.Single(r => r.RunId == W8).Figures)!;
            view.DeltaPercent!.Value.ShouldBe(100 * (Math.Exp(1) - 1), 1e-4, "all tokens, the pruned one too");
            view.Survivors!.Value.ShouldBe(Math.Exp(1), 1e-6);
            view.Survivors.BaselineValue!.Value.ShouldBe(Math.Exp(1), 1e-6);
            view.Survivors.Share.ShouldBe(0.5);
            staged.Windows.Where(w => w.RunId == W8).Select(w => w.Survivors![0]).ShouldBe([(byte)1, (byte)0]);
            staged.Windows.Where(w => w.RunId == Fp16).ShouldAllBe(w => w.Survivors == null);

            OutcomeStaging.Make(Input(File0(null))).Results.ShouldHaveSingleItem().RunId.ShouldBe(Fp16, "without its mask a pruned block is done again");
            Should.Throw<InvalidDataException>(() => OutcomeStaging.Make(Input(File0([1, 7])))).Message.ShouldContain("neither 0 nor 1");
            Should.Throw<InvalidDataException>(() => OutcomeStaging.Make(Input(File0([1])))).Message.ShouldContain("has 1 bytes");
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static OutcomeInput Scored(string precision, Dictionary<int, NllFile> files) => new(
        Attempt, new JobRow { Kind = "perplexity", Settings = Json.Write(Settings) },
        [Row(0, "fp16", kind: "perplexity"), Row(1, precision, kind: "perplexity")], [],
        new AttemptOutcome("done", [Done(0), Done(1)], files, "avx2", null), 1, [], new Dictionary<Guid, GateRecord>(), null, new Dictionary<Guid, Dictionary<int, float[]>>(), 8);

    [Fact]
    public void A_killed_engines_mask_is_named_in_its_journal()
    {
        const string journal = """
            {"seq":0,"ms":0,"event":"window","block":2,"window":0,"targets":3,"nll_sum":1}
            {"seq":1,"ms":1,"event":"block","block":2,"state":"done","nll_file":"nll-2.f32","nll_sha256":"aa","survivors_file":"survivors-2.u8","survivors_sha256":"bb","row_share":0.75}

            """;
        var events = AttemptOutcome.ReadJournal(Encoding.UTF8.GetBytes(journal));
        var (done, windows, targets) = AttemptOutcome.ScoredBlocksOf(events).ShouldHaveSingleItem();
        (done.SurvivorsFile, done.SurvivorsSha256, windows, targets).ShouldBe(("survivors-2.u8", "bb", 1, 3));
        AttemptOutcome.FromJournal(events).Blocks.ShouldHaveSingleItem().RowShare.ShouldBe(0.75);
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
                Attempt, new JobRow { Kind = "perplexity", Settings = Json.Write(Settings) }, rows, [],
                new AttemptOutcome("done", [Done(0), Done(1)], files, "avx2", null), 1, [], new Dictionary<Guid, GateRecord>(), null, new Dictionary<Guid, Dictionary<int, float[]>>(), 8);
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
