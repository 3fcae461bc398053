using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Tests.Domain;

public sealed class SmallRulesTests
{
    private static readonly TimeSpan First = TimeSpan.FromSeconds(2), Longest = TimeSpan.FromSeconds(60);

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 4)]
    [InlineData(5, 32)]
    [InlineData(6, 60)]
    [InlineData(1000, 60)]
    public void Pauses_double_up_to_the_longest(int failures, double seconds) =>
        Backoff.After(failures, First, Longest, 0).TotalSeconds.ShouldBe(seconds);

    [Fact]
    public void Jitter_takes_off_a_fifth_at_most() => Backoff.After(2, First, Longest, 1).TotalSeconds.ShouldBe(3.2, 1e-9);

    [Fact]
    public void Memory_counts_pack_cache_and_activations()
    {
        // 4 layers, width 64, 8 heads, 4 of them with keys: 2 * 4 heads * 8 wide * 2 bytes = 128 bytes a position and layer.
        var shape = new ModelShape(4, 64, 172, 8, 4, 512);
        var withoutContext = MemoryFit.Needed(1000, shape, 0, 1);
        (MemoryFit.Needed(1000, shape, 100, 1) - withoutContext).ShouldBe(100 * 4 * 128);
        withoutContext.ShouldBe(1000 + 4 * (6 * 64 + 2 * 172 + 512) + (64L << 20));
    }

    [Fact]
    public void A_baseline_that_does_not_fit_says_what_it_needs()
    {
        MemoryFit.Problem("fp16", 3L << 30, 2L << 30).ShouldBe("no baseline: needs 3.0 GiB, the board has 2.0 GiB");
        MemoryFit.Problem("w8a8", 3L << 30, 2L << 30).ShouldBe("does not fit: needs 3.0 GiB, the board has 2.0 GiB");
        MemoryFit.Problem("fp16", 1L << 30, 2L << 30).ShouldBeNull();
        MemoryFit.Problem("fp16", 1L << 40, 0).ShouldBeNull("unknown memory refuses nothing");
    }

    [Fact]
    public void WikiText_records_are_joined_with_a_blank_line() =>
        WikiText.JoinRecords(" \n = A = \n \n one \n two").ShouldBe("\n\n = A = \n\n\n\n\n one \n\n\n two");

    private static readonly JobSettings Settings = new(2, 32, 8, "llama.cpp-128", 4, 1, 3, 5, 0.02, 5, 300);

    private static BlockRow Block(int index, string precision, string kind) => new()
    {
        Index = index,
        RunId = Guid.NewGuid(),
        Precision = precision,
        Kind = kind,
        State = "planned",
        PackSha256 = new string(precision == "fp16" ? 'a' : 'b', 64),
    };

    [Fact]
    public void A_timing_plan_is_what_the_engine_reads()
    {
        var plan = EnginePlan.For(Guid.Empty, Settings, [Block(4, "fp16", "prefill"), Block(5, "w8a8", "generate")], 4, null).ToText();
        plan.ShouldContain("kind timing\nthreads 2\n");
        plan.ShouldContain("context 32\n");
        plan.ShouldContain("prompt 32\ngenerate 8\n");
        plan.ShouldContain("block 4 fp16 prefill 1 3\nblock 5 w8a8 generate 1 3\n");
        plan.ShouldNotContain("windows");
    }

    [Fact]
    public void A_perplexity_plan_scores_the_windows_that_were_asked_for_and_exist()
    {
        var tokens = (new string('c', 64), 1000L);
        EnginePlan.For(Guid.Empty, Settings with { Threads = 0 }, [Block(0, "fp16", "perplexity")], 3, tokens).ToText()
            .ShouldContain("convention llama.cpp 128\nwindows 0 4\n");
        EnginePlan.Windows(Settings with { Windows = null }, 1000).ShouldBe(7, "null: all windows");
        EnginePlan.Windows(Settings with { Windows = 50 }, 1000).ShouldBe(7);
        EnginePlan.Windows(Settings, 100).ShouldBe(0);
    }
}
