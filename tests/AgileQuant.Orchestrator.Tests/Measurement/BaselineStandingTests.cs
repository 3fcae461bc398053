using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Services;
using Microsoft.Extensions.Logging.Abstractions;

namespace AgileQuant.Orchestrator.Tests.Measurement;

public sealed class BaselineStandingTests
{
    private static EngineComparison Comparison(double prefill, double generation) => new(
        1, "avx512vnni", "some CPU", new DateTimeOffset(2026, 11, 22, 0, 0, 0, TimeSpan.Zero), "TinyLlama 1.1B shape", 2, ["llama.cpp b1", "another b2"],
        new Dictionary<string, EngineRatio> { ["fp16"] = new(prefill, generation) });

    [Fact]
    public void Without_a_comparison_the_sentence_says_so()
    {
        var note = BaselineStanding.Of("neon", null);
        note.Level.ShouldBeFalse();
        note.Sentence.ShouldContain("not compared on this kind of machine (neon)");
        BaselineStanding.Of("neon", Comparison(1, 1) with { Ratios = new Dictionary<string, EngineRatio> { ["fp16"] = new(1, null) } }).Level
            .ShouldBeFalse("generation was not compared");
    }

    [Theory]
    [InlineData(0.80, 1.05, false)]
    [InlineData(1.05, 0.97, false)]
    [InlineData(0.98, 1.20, true)]
    public void Level_means_level_in_prefill_and_in_generation(double prefill, double generation, bool level)
    {
        var note = BaselineStanding.Of("avx512vnni", Comparison(prefill, generation));
        note.Level.ShouldBe(level);
        note.Sentence.ShouldContain(FormattableString.Invariant($"prefill {prefill:0.00}, generation {generation:0.00} times the best of llama.cpp b1 and another b2"));
        note.Sentence.ShouldContain(level ? "is level with" : "is slower than");
    }

    [Theory]
    [InlineData(0.95, 1.04, "was not shown level")]
    [InlineData(0.95, 0.99, "is slower than")]
    [InlineData(0.95, null, "is slower than")]
    [InlineData(0.99, 1.04, "is level with")]
    public void A_wide_interval_is_no_proof_of_being_slower(double generation, double? high, string words)
    {
        var comparison = Comparison(1, generation) with
        {
            Ratios = new Dictionary<string, EngineRatio> { ["fp16"] = new(1, generation, 1.1, high), ["bf16"] = new(1.2, 0.9) },
        };

        BaselineStanding.Of("avx512vnni", comparison).Sentence.ShouldContain(words);
        BaselineStanding.Of("avx512vnni", comparison).Sentence.ShouldContain("bf16: 1.20 and 0.90");
    }

    [Fact]
    public void A_recorded_comparison_is_read_and_a_broken_one_counts_as_none()
    {
        var home = Directory.CreateTempSubdirectory("bench-perf");
        try
        {
            var options = new OrchestratorOptions { ConnectionString = "", Home = home.FullName };
            var comparisons = new BaselineComparisons(options, NullLogger<BaselineComparisons>.Instance);
            Directory.CreateDirectory(options.PerfFolder);
            File.WriteAllText(Path.Combine(options.PerfFolder, "engine-avx512vnni.json"), AgileQuant.Orchestrator.Storage.Json.Write(Comparison(1.01, 1.02)));
            File.WriteAllText(Path.Combine(options.PerfFolder, "engine-neon.json"), "{ broken");

            var notes = comparisons.For([Run("avx512vnni"), Run("neon"), Run("neon"), Run("../engine-avx512vnni"), Run("avx2", DeviceKind.Emulated)]);

            notes.Select(n => (n.Isa, n.Level)).ShouldBe([("../engine-avx512vnni", false), ("avx512vnni", true), ("neon", false)]);
        }
        finally
        {
            home.Delete(true);
        }
    }

    private static RunSummaryView Run(string isa, DeviceKind kind = DeviceKind.Real) => new(
        Guid.NewGuid(), Guid.Empty, Guid.Empty, "board", kind, "model", false, "fp16", "speed", RunState.Complete, null, new SpeedView(null, null, null, isa, 1), null, null, null);
}
