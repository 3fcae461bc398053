using AgileQuant.Agent.Protocol;

namespace AgileQuant.Agent.Tests.Protocol;

public sealed class JobPlanTests
{
    private static readonly string Sha = new('a', 64);

    private static JobPlan Timing => new()
    {
        Attempt = "0199a2c4-1",
        Kind = JobKind.Timing,
        Threads = 2,
        Context = 1024,
        Cpus = [0, 1],
        Packs = [new PlanPack("fp16", Sha), new PlanPack("w4a4+trip", Sha)],
        PromptTokens = 512,
        GenerateTokens = 64,
        Blocks = [new PlanBlock(0, "fp16", BlockKind.Prefill, 1, 3), new PlanBlock(2, "w4a4+trip", BlockKind.Generate, 1, 3)],
    };

    [Fact]
    public void Writes_the_lines_the_engine_reads() => Timing.ToText().ShouldBe(
        $"""
        agilequant-plan 1
        attempt 0199a2c4-1
        kind timing
        threads 2
        isa auto
        cpus 0,1
        context 1024
        ubatch 512
        pack fp16 {Sha}
        pack w4a4+trip {Sha}
        prompt 512
        generate 64
        telemetry-ms 500
        warmup-max 5
        target-spread 0.02
        block 0 fp16 prefill 1 3
        block 2 w4a4+trip generate 1 3

        """);

    [Fact]
    public void Writes_a_perplexity_job() => Perplexity().ToText().ShouldContain(
        $"tokens {Sha}\nconvention gptq 512\nwindows 4 8\n");

    [Fact]
    public void Refuses_what_contradicts_itself()
    {
        Refused(Timing with { Blocks = [] }, "0 blocks");
        Refused(Timing with { Attempt = "../x" }, "attempt");
        Refused(Timing with { Isa = "a b" }, "isa");
        Refused(Timing with { Packs = [new PlanPack("fp16\nkind", Sha)] }, "plain name");
        Refused(Timing with { Packs = [new PlanPack("fp16", "short")] }, "SHA-256");
        Refused(Timing with { Blocks = [new PlanBlock(0, "w8a8", BlockKind.Prefill, 1, 1)] }, "not there");
        Refused(Timing with { Blocks = [.. Timing.Blocks, Timing.Blocks[0]] }, "one index");
        Refused(Timing with { Blocks = [new PlanBlock(0, "fp16", BlockKind.Prefill, 3, 1)] }, "repetitions");
        Refused(Timing with { Blocks = [new PlanBlock(0, "fp16", BlockKind.Prefill, 1, 100_001)] }, "repetitions");
        Refused(Timing with { PromptTokens = null }, "prompt tokens");
        Refused(Timing with { Kind = JobKind.Perplexity }, "another kind");
        Refused(Perplexity() with { Perplexity = null }, "token file");
    }

    private static JobPlan Perplexity() => Timing with
    {
        Kind = JobKind.Perplexity,
        Perplexity = new PerplexityPlan(Sha, PerplexityConvention.Gptq, 512, 4, 8),
        Blocks = [new PlanBlock(1, "fp16", BlockKind.Perplexity, 1, 1)],
    };

    private static void Refused(JobPlan plan, string reason) =>
        Should.Throw<InvalidOperationException>(() => plan.ToText()).Message.ShouldContain(reason);
}
