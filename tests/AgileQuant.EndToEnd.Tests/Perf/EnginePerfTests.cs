using AgileQuant.Engine;
using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;
using AgileQuant.Host.Perf;
using AgileQuant.Orchestrator.Packing;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Perf;

public sealed class EnginePerfTests : IDisposable
{
    private const string Answer = """
        warming up
        [ {"build_commit":"abc","n_prompt":16,"n_gen":0,"samples_ns":[2000000, 4000000]}, {"build_commit":"abc","n_prompt":0,"n_gen":4,"samples_ns":[1000000]} ]
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("aqb-perf-").FullName;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void What_llama_bench_measured_is_found_between_its_other_words()
    {
        var result = LlamaBench.Read(Answer, 16, 4);

        result.Version.ShouldBe("abc");
        result.Prefill.ShouldBe([2e6, 4e6]);
        result.Generation.ShouldBe([1e6]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("no json")]
    [InlineData("[{\"n_prompt\":16}]")]
    [InlineData("[{\"n_prompt\":512,\"n_gen\":0,\"samples_ns\":[1]}]")]
    public void An_answer_without_the_tests_is_refused(string answer) =>
        Should.Throw<BenchException>(() => LlamaBench.Read(answer, 16, 4)).Message.ShouldContain("16 and 4");

    [Fact]
    public void Another_engine_is_a_name_a_program_and_its_options()
    {
        var engine = LlamaBench.Parse($"ik={Script()} -rtr 1");

        engine.Name.ShouldBe("ik");
        engine.Options.ShouldBe(["-rtr", "1"]);
        Should.Throw<BenchException>(() => LlamaBench.Parse("ik")).Message.ShouldContain("NAME=PATH");
        Should.Throw<BenchException>(() => LlamaBench.Parse("ik=/nowhere/llama-bench")).Message.ShouldContain("/nowhere");
    }

    [Theory]
    [InlineData("-rtr 1 -fa 1", "F16", true, "BF16")]
    [InlineData("--run-time-repack 1", "F16", true, "BF16")]
    [InlineData("-rtr 1", "F16", false, "F16")]
    [InlineData("-rtr 0 -t 1", "F16", true, "F16")]
    [InlineData("-rtr 1", "Q4_0", true, "Q4_0")]
    public void F16_that_is_repacked_is_compared_with_bf16(string options, string type, bool cpuHasBf16, string computedAs) =>
        LlamaBench.Parse($"ik={Script()} {options}").ComputedAs(type, cpuHasBf16).ShouldBe(computedAs);

    [Theory]
    [InlineData("fp16", 16)]
    [InlineData("w8a8", 8)]
    [InlineData("w4a8", 4)]
    public void The_work_of_a_token_is_counted_from_the_pack(string precision, int bits)
    {
        var work = PackWork.Read(TinyPack(precision));

        // tiny-3m: 4 layers, dim 128, kv 64, ffn 384, vocabulary 8192
        const long linear = 4L * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 384);
        work.MultiplyAdds.ShouldBe(linear);
        work.WeightBits.ShouldBe(bits);
        work.KvBytesPerPosition.ShouldBe(4 * 2 * 64 * 2);
        work.WeightBytes.ShouldBeInRange(linear * bits / 8, (linear * bits / 8 + 128 * 8192 * 2) * 5 / 4);
        work.MemoryGoal(512, 512).ShouldBe(work.PackBytes + 512 * work.KvBytesPerPosition + 512 * work.ActivationBytesPerRow + (64 << 20));
    }

    [Fact]
    public async Task More_tokens_than_learned_positions_are_refused_before_anything_is_packed()
    {
        var model = Path.Combine(_folder, "opt.gguf");
        RandomModel.Write(model, new RandomModelShape("opt", 64, 1, 4, 4, 128, 300, 48, TiedOutput: true, Architecture: Engine.Import.Architecture.Opt), 1, cancellation: Token);
        var files = new PerfFiles(_folder, _ => { });
        var perf = new EnginePerf(new EnginePerfRequest(model, "opt", [Precision.W8A8], [1], 49, 4, 1, 1, [], new Dictionary<string, string>()), new OwnEngine("/nowhere", files), files, _ => { });

        (await Should.ThrowAsync<BenchException>(() => perf.RunAsync(Token))).Message.ShouldBe(
            "opt has learned positions for 48 tokens and none beyond: give --prompt and --generate of at most 48");
        Directory.Exists(files.Store).ShouldBeFalse();
    }

    [Theory]
    [InlineData("w4a8+gptq")]
    [InlineData("w4a8+low0.5")]
    public void A_recipe_that_needs_a_text_is_refused_in_words(string precision) =>
        Should.Throw<BenchException>(() => TinyPack(precision)).Message.ShouldContain("calibration text");

    [Fact]
    public void Shares_are_of_the_rate_that_the_precision_uses()
    {
        var roofline = new PerfRoofline(2, 10, 100, null, 400);
        var work = new PackWork(0, 1_000_000_000, 1_000_000_000, 0, 0, 8, false);

        EnginePerf.Share(work, roofline, PerfPhase.Generation, 5, 1)!.Value.ShouldBe(0.5, 1e-9);
        EnginePerf.Share(work, roofline, PerfPhase.Prefill, 100, 1)!.Value.ShouldBe(0.5, 1e-9);
        EnginePerf.Share(work with { WeightBits = 16 }, roofline, PerfPhase.Prefill, 25, 1)!.Value.ShouldBe(0.5, 1e-9);
        EnginePerf.Share(work with { WeightBits = 16, IsBf16 = true }, roofline, PerfPhase.Prefill, 25, 1).ShouldBeNull();
    }

    [Fact]
    public void Ratios_are_to_the_engine_with_the_best_median_round_by_round()
    {
        PerfFigure[] figures =
        [
            Figure("ours", "w4a4", "Q4_0", 30, 20, 45), Figure("slow", "Q4_0", "Q4_0", 10, 10, 10), Figure("fast", "Q4_0", "Q4_0", 15, 10, 15),
            Figure("fast", "Q8_0", "Q8_0", 99, 99, 99), Figure("other", "Q4_0", "BF16", 99, 99, 99),
        ];

        var ratio = EnginePerf.Ratios(figures).ShouldHaveSingleItem();

        ratio.Best.ShouldBe("fast Q4_0");
        ratio.Ratio.ShouldBe(Math.Cbrt(2 * 2 * 3), 1e-9);
        (ratio.Low, ratio.High).ShouldBe((2, 3));

        static PerfFigure Figure(string engine, string weights, string computedAs, params double[] rounds) =>
            new(engine, weights, computedAs, 2, PerfPhase.Prefill, PerfStatistics.Median(rounds), 0, rounds, null);
    }

    [Fact]
    public void Rounds_go_forth_and_back() =>
        Enumerable.Range(0, 3).Select(r => string.Concat(PerfStatistics.Order(["a", "b", "c"], r))).ShouldBe(["abc", "cba", "abc"]);

    [Fact]
    public async Task Measures_our_engine_beside_another_one()
    {
        var program = LocalEngine.Target is { } target ? NativeEngine.FindBuilt(target) : null;
        Assert.SkipUnless(program is not null, "the engine is not built for this machine");
        var files = new PerfFiles(_folder, _ => { });
        var other = LlamaBench.Parse($"other={Script()}");
        var model = files.RandomModel("tiny-3m", Token);
        var request = new EnginePerfRequest(
            model, "tiny", [Precision.Fp16, Precision.W4A8], [1, 2], 16, 4, 2, 2, [other], new Dictionary<string, string> { ["Q4_0"] = model });

        var report = await new EnginePerf(request, new OwnEngine(program!, files), files, _ => { }).RunAsync(Token);

        report.Notes.ShouldBeEmpty();
        report.Figures.Count.ShouldBe(2 * 2 * (2 + 2)); // threads x phases x (ours + other's types)
        report.Figures.ShouldAllBe(f => f.TokensPerSecond > 0 && f.Rounds.Count == 2);
        report.Figures.Where(f => f.Engine == "ours").ShouldAllBe(f => f.RooflineShare > 0);
        report.Figures.First(f => f.Engine == "other" && f.Phase == PerfPhase.Generation).TokensPerSecond.ShouldBe(4000, 1e-6);
        report.Ratios.Count.ShouldBe(8);
        report.Memory.ShouldAllBe(m => m.PeakBytes > 0 && m.GoalBytes > 64 << 20);
        report.FirstToken!.Median.ShouldBeGreaterThan(0);
        var comparison = PerfEngineCommand.Comparison(report).ShouldNotBeNull();
        comparison.Against.ShouldBe(["other abc"]);
        comparison.Threads.ShouldBe(2);
        comparison.Ratios.Keys.ShouldBe(["fp16", "w4a8"], ignoreOrder: true);
        comparison.Ratios["fp16"].Prefill.ShouldNotBeNull();
        PerfEngineCommand.Comparison(report with { Ratios = [] }).ShouldBeNull();
    }

    [Fact]
    public void A_few_rounds_that_differ_too_much_are_not_recorded()
    {
        var steady = new PerfRatio("fp16", 2, PerfPhase.Prefill, "x", 1, 0.9, 1.1);
        var report = new EnginePerfReport("m", "avx2", null, default, 1, 1, 2, [], [], [], [steady], [], null, []);

        PerfEngineCommand.Unsteady(report).ShouldBeNull();
        var unsteady = report with { Ratios = [steady, steady with { High = 1.3 }] };
        PerfEngineCommand.Unsteady(unsteady).ShouldNotBeNull();
        PerfEngineCommand.Unsteady(unsteady with { Rounds = 6 }).ShouldBeNull("six rounds give an interval, which is recorded");
    }

    private string TinyPack(string precision)
    {
        var files = new PerfFiles(_folder, _ => { });
        return files.Pack(files.RandomModel("tiny-3m", Token), Precision.Parse(precision), Token).Path;
    }

    /// <summary>Answers like llama-bench.</summary>
    private string Script()
    {
        var path = Path.Combine(_folder, "llama-bench");
        File.WriteAllText(path, $"#!/bin/sh\ncat <<'EOF'\n{Answer}\nEOF\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }
}
