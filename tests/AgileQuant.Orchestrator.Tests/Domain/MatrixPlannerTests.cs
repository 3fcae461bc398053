using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Orchestrator.Tests.Domain;

public sealed class MatrixPlannerTests
{
    private static readonly Catalogue Everything = new(
        [
            new(Guid.NewGuid(), "pi4", DeviceKind.Real, DeviceState.Ready, null),
            new(Guid.NewGuid(), "arm", DeviceKind.Emulated, DeviceState.Ready, null),
            new(Guid.NewGuid(), "away", DeviceKind.Real, DeviceState.Offline, "no route"),
        ],
        [
            new(Guid.NewGuid(), "docs", RandomWeights: false, HasTokenizer: true, 512),
            new(Guid.NewGuid(), "random", RandomWeights: true, HasTokenizer: false, 2048),
            new(Guid.NewGuid(), "mute", RandomWeights: false, HasTokenizer: false, 512),
            new(Guid.NewGuid(), "opt", RandomWeights: false, HasTokenizer: true, 512, LearnedPositions: true),
        ],
        [new(Guid.NewGuid(), "text", "sha-of-text"), new(Guid.NewGuid(), "copy", "sha-of-text"), new(Guid.NewGuid(), "train", "sha-of-train")]);

    private static readonly WorkloadSpec Speed = new("speed", [], 64, 16, 0, null, null, null);
    private static readonly WorkloadSpec Quality = new("quality", [], null, null, 0, "text", "llama.cpp-128", 4);

    private static MatrixSpec Spec(params WorkloadSpec[] workloads) =>
        new("m", ["pi4"], ["docs"], ["fp16", "w8a8", "w4a4"], workloads, new PolicySpec(Rounds: 3));

    private static MatrixPlan Plan(MatrixSpec spec) => MatrixPlanner.Plan(spec, Everything);

    [Fact]
    public void A_timing_job_holds_all_precisions_of_a_device_model_and_workload()
    {
        var plan = Plan(Spec(Speed));
        plan.Runs.Count.ShouldBe(3);
        var job = plan.Jobs.ShouldHaveSingleItem();
        job.Kind.ShouldBe("timing");
        job.Blocks.Count.ShouldBe(3 * 3 * 2);
        job.Blocks.Select(b => b.RunId).Distinct().Count().ShouldBe(3);
        plan.Packs.Count.ShouldBe(3);
        plan.Scores.ShouldBeEmpty();
    }

    [Fact]
    public void Rounds_mirror_each_other_and_keep_a_pack_for_both_kinds()
    {
        var job = Plan(Spec(Speed)).Jobs[0];
        string.Join(' ', job.Blocks.Where(b => b.Kind == "prefill").Select(b => b.Precision))
            .ShouldBe("fp16 w8a8 w4a4 w4a4 w8a8 fp16 fp16 w8a8 w4a4");
        job.Blocks.Select(b => b.Index).ShouldBe(Enumerable.Range(0, 18));
        job.Blocks.Chunk(2).ShouldAllBe(pair => pair[0].Precision == pair[1].Precision && pair[0].Round == pair[1].Round);
        foreach (var round in job.Blocks.GroupBy(b => b.Round))
            round.Count(b => b.Precision == "fp16").ShouldBe(2, "every quantized block has an fp16 block of its round");
    }

    [Fact]
    public void The_baseline_is_always_there_and_first()
    {
        var plan = Plan(Spec(Speed) with { Precisions = ["w4a8"] });
        plan.Runs.Select(r => r.Precision).ShouldBe(["fp16", "w4a8"]);
        plan.Warnings.ShouldContain(w => w.Contains("fp16 is added"));
    }

    [Fact]
    public void Perplexity_is_a_job_of_its_own_that_comes_before_timing()
    {
        var plan = Plan(Spec(Speed, Quality));
        plan.Jobs.Select(j => j.Kind).ShouldBe(["perplexity", "timing"]);
        plan.Jobs[0].Blocks.Select(b => b.Precision).ShouldBe(["fp16", "w8a8", "w4a4"]);
        plan.Tokens.ShouldHaveSingleItem();
        plan.Scores.Count.ShouldBe(3);
        plan.Packs.Count.ShouldBe(3, "both workloads share their packs");
    }

    [Fact]
    public void An_emulated_device_is_never_timed()
    {
        var plan = Plan(Spec(Speed, Quality) with { Devices = ["arm", "pi4"] });
        var emulated = Everything.Devices[1].Id;
        plan.Jobs.Where(j => j.DeviceId == emulated).ShouldHaveSingleItem().Kind.ShouldBe("perplexity");
        plan.Runs.Where(r => r.DeviceId == emulated).ShouldAllBe(r => !r.AsksSpeed && r.Workload == "quality");
        plan.Warnings.ShouldContain(w => w.Contains("arm is emulated"));
    }

    [Fact]
    public void Models_without_meaning_or_tokenizer_get_no_perplexity()
    {
        var plan = Plan(Spec(Speed, Quality) with { Models = ["random", "mute"] });
        plan.Runs.ShouldAllBe(r => !r.AsksPerplexity);
        plan.Warnings.ShouldContain(w => w.Contains("random weights"));
        plan.Warnings.ShouldContain(w => w.Contains("without a tokenizer"));
    }

    [Fact]
    public void A_workload_may_be_for_some_models_only()
    {
        var plan = Plan(Spec(Speed with { Models = ["random"] }, Quality with { Models = ["docs"] }) with { Models = ["docs", "random"] });
        plan.Runs.Count.ShouldBe(6);
        plan.Runs.ShouldAllBe(r => r.AsksSpeed ^ r.AsksPerplexity);
    }

    [Fact]
    public void Precisions_have_one_spelling_everywhere()
    {
        var spec = SpecRules.Complete(Spec(Speed, Quality) with { Precisions = ["W4A8+TRIP+gptq", "w4a8+gptq+trip", "w4a4+log2"], Calibration = "train" });
        spec.Precisions.ShouldBe(["w4a8+gptq+trip", "w4a4"]);
        var plan = Plan(spec);
        plan.Runs.Select(r => r.Precision).Distinct().ShouldBe(["fp16", "w4a8+gptq+trip", "w4a4"]);
        plan.Calibration!.Name.ShouldBe("train");
        plan.Tokens.Count.ShouldBe(2, "the text that is scored and the one for calibration");
    }

    [Fact]
    public void A_calibration_text_that_nothing_needs_is_not_used()
    {
        var plan = Plan(Spec(Speed) with { Calibration = "train" });
        plan.Calibration.ShouldBeNull();
        plan.Tokens.ShouldBeEmpty();
        plan.Warnings.ShouldContain(w => w.Contains("train is not used"));
    }

    [Fact]
    public void A_model_with_random_weights_is_calibrated_on_random_ids_and_that_is_said()
    {
        var plan = Plan(Spec(Speed) with { Models = ["random"], Precisions = ["w4a8+gptq"], Calibration = "train" });
        plan.Tokens.ShouldHaveSingleItem();
        plan.Warnings.ShouldContain(w => w.Contains("calibrated on random ids"));
    }

    [Fact]
    public void A_device_without_the_instruction_is_named_before_bf16_is_skipped_there()
    {
        var old = Everything with { Devices = [Everything.Devices[0] with { Kernels = ["fp16", "w8a8"] }] };
        MatrixPlanner.Plan(Spec(Speed) with { Precisions = ["fp16", "bf16"] }, old).Warnings.ShouldContain(w => w.Contains("pi4: bf16 is skipped: this CPU has no bf16 instruction"));
        Plan(Spec(Speed) with { Precisions = ["fp16", "bf16"] }).Warnings.ShouldBeEmpty("nobody knows yet");
    }

    [Fact]
    public void A_workload_may_be_for_some_precisions_only_and_always_has_the_baseline()
    {
        var plan = Plan(Spec(Speed with { Precisions = ["w8a8"] }, Quality) with { Precisions = ["fp16", "w8a8", "w4a4+gptq"], Calibration = "train" });
        plan.Runs.Where(r => r.Workload == "speed").Select(r => r.Precision).ShouldBe(["fp16", "w8a8"]);
        plan.Jobs.Single(j => j.Kind == "timing").Blocks.Select(b => b.Precision).Distinct().ShouldBe(["fp16", "w8a8"], ignoreOrder: true);
        plan.Runs.Count(r => r.Workload == "quality").ShouldBe(3);
        Should.Throw<UserErrorException>(() => Plan(Spec(Speed with { Precisions = ["w4a8"] }))).Message.ShouldContain("not among the matrix's precisions");
    }

    [Fact]
    public void A_workload_may_be_for_some_devices_only()
    {
        var plan = Plan(Spec(Speed, Quality with { Devices = ["pi4"] }) with { Devices = ["pi4", "away"] });
        plan.Runs.Where(r => r.Workload == "quality").Select(r => r.DeviceId).Distinct().ShouldBe([Everything.Devices[0].Id]);
        plan.Runs.Where(r => r.Workload == "speed").Select(r => r.DeviceId).Distinct().Count().ShouldBe(2);
        Should.Throw<UserErrorException>(() => Plan(Spec(Speed with { Devices = ["away"] }))).Message.ShouldContain("not among the matrix's devices");
    }

    [Fact]
    public void A_device_that_is_away_gives_a_warning_not_an_error() =>
        Plan(Spec(Speed) with { Devices = ["away"] }).Warnings.ShouldContain(w => w.Contains("away is offline now (no route)"));

    public static TheoryData<string, MatrixSpec, string> Impossible => new()
    {
        { "device", Spec(Speed) with { Devices = ["pi5"] }, "no device 'pi5'" },
        { "model", Spec(Speed) with { Models = ["nope"] }, "no model 'nope'" },
        { "dataset", Spec(Quality with { Dataset = "nope" }), "no dataset 'nope'" },
        { "precision", Spec(Speed) with { Precisions = ["w3a3"] }, "w3a3" },
        { "convention", Spec(Quality with { Convention = "best-512" }), "llama.cpp-512" },
        { "window", Spec(Quality with { Convention = "gptq-2048" }), "gptq-512" },
        { "prompt", Spec(Speed with { Prompt = 1000 }), "context of model docs is 512" },
        { "generation", Spec(Speed with { Generate = 512 }), "generation of at most 511" },
        { "prompt beyond learned positions", Spec(Speed with { Prompt = 2048, Models = ["opt"] }) with { Models = ["docs", "opt"] }, "needs 2048 positions, but model opt has learned positions for 512 tokens and none beyond: use a prompt of at most 512" },
        { "window beyond learned positions", Spec(Quality with { Convention = "llama.cpp-2048" }) with { Models = ["opt"] }, "windows of 2048 tokens, but model opt has learned positions for 512 tokens and none beyond: use llama.cpp-512" },
        { "zero", Spec(Speed with { Prompt = 0 }), "between 1 and" },
        { "empty", Spec(), "workloads" },
        { "no devices", Spec(Speed) with { Devices = [] }, "devices" },
        { "nothing asked", Spec(Speed with { Prompt = null, Generate = null }), "asks for nothing" },
        { "same names", Spec(Speed, Speed), "same name" },
        { "stranger", Spec(Speed with { Models = ["random"] }), "not among the matrix's models" },
        { "group", Spec(Speed) with { Policy = new PolicySpec(GroupSize: 48) }, "groupSize" },
        { "rounds", Spec(Speed) with { Policy = new PolicySpec(Rounds: 0) }, "rounds" },
        { "name", Spec(Speed) with { Name = new string('x', 101) }, "name" },
        { "no calibration", Spec(Speed) with { Precisions = ["w4a8+gptq"] }, "w4a8+gptq needs a calibration text: add 'calibration: DATASET'" },
        { "calibration", Spec(Speed) with { Precisions = ["w4a8+gptq"], Calibration = "nope" }, "no dataset 'nope' to calibrate on" },
        { "calibrated on what is scored", Spec(Quality) with { Precisions = ["w4a8+gptq"], Calibration = "text" }, "is the text that perplexity is measured on" },
        { "a copy of what is scored", Spec(Quality) with { Precisions = ["w4a8+gptq"], Calibration = "copy" }, "(as text: the same content)" },
        { "cannot read it", Spec(Speed) with { Models = ["mute"], Precisions = ["w8a8+trip"], Calibration = "train" }, "without a tokenizer" },
        { "nothing runs", Spec(Speed) with { Devices = ["arm"] }, "Nothing would run" },
    };

    [Theory]
    [MemberData(nameof(Impossible))]
    public void What_cannot_run_is_refused_in_words(string what, MatrixSpec spec, string words)
    {
        what.ShouldNotBeEmpty();
        Should.Throw<UserErrorException>(() => Plan(spec)).Message.ShouldContain(words);
    }

    [Fact]
    public void What_fits_a_models_positions_to_the_last_one_is_planned()
    {
        var plan = Plan(Spec(Speed with { Prompt = 512, Generate = 511 }, Quality with { Convention = "llama.cpp-512" }) with { Models = ["opt"] });
        plan.Jobs.Select(j => AgileQuant.Orchestrator.Packing.EnginePlan.Context(j.Settings, j.Kind == "timing")).ShouldBe([512, 512]);
    }

    [Fact]
    public void A_matrix_has_a_limit()
    {
        var devices = Enumerable.Range(0, 400).Select(i => new PlannableDevice(Guid.NewGuid(), $"d{i}", DeviceKind.Real, DeviceState.Ready, null)).ToList();
        var spec = Spec(Speed, Quality) with { Devices = [.. devices.Select(d => d.Name)] };
        Should.Throw<UserErrorException>(() => MatrixPlanner.Plan(spec, Everything with { Devices = devices })).Message.ShouldContain("2400 runs, at most 2000");
    }

    [Fact]
    public void Missing_lists_of_a_file_become_empty_ones()
    {
        var spec = SpecRules.Complete(new MatrixSpec("m", ["pi4"], ["docs"], null!, [Speed with { Models = null! }], null!));
        spec.Precisions.ShouldBeEmpty();
        spec.Workloads[0].Models.ShouldBeEmpty();
        spec.Policy.Rounds.ShouldBe(6);
    }
}
