using System.Text.Json;
using AgileQuant.Host.Api;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>Figures made through import, tokenizer, pack, SSH, engine, Postgres and report equal figures that others made.</summary>
[Collection(BenchFixture.OneAtATime)]
public class PerplexityTests(BenchFixture bench)
{
    private const double Within = 0.001; // relative
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Stories260K_in_fp16_has_the_perplexity_that_float64_arithmetic_gives()
    {
        Assert.SkipWhen(Repository.Data is null, "the shared test data is not on this machine (BENCH_SHARED)");
        await bench.NeedAsync(_ct);
        var data = Repository.Data!;
        await bench.Client.ImportModelAsync(new ImportModelRequest(Path.Combine(data, "stories260K", "stories260K-f32.gguf"), "stories260k"), null, _ct);
        await bench.Client.ImportDatasetAsync(new ImportDatasetRequest(Path.Combine(data, "text", "tinystories-sample.txt"), "stories"), _ct);

        var view = await RunAsync("stories", "stories260k", "stories", "llama.cpp-512", null, ["fp16"]);

        var run = view.Runs.ShouldHaveSingleItem();
        run.Perplexity.ShouldNotBeNull();
        run.Perplexity.Name.ShouldContain("196");
        run.Perplexity.Value.ShouldBe(6.302990, 6.302990 * Within);
        run.Perplexity.NodeAgreement.ShouldNotBeNull().ShouldBeLessThan(0.02);
        (await CsvValueAsync(view, "perplexity_board")).ShouldBe(run.Perplexity.Value, 1e-9); // the report says the same
    }

    [Theory]
    [InlineData("gptq-512", 511)]
    [InlineData("llama.cpp-512", 255)]
    public async Task The_sample_model_has_the_perplexity_that_PyTorch_gives(string convention, int targets)
    {
        await bench.NeedAsync(_ct);
        Assert.SkipWhen(!bench.HeldOutComplete, "this .NET SDK lacks sentences of the held-out text");
        var (expected, sums) = Expected(convention);

        var view = await RunAsync($"sample-{convention}", BenchFixture.Model, BenchFixture.Dataset, convention, null, ["fp16"]);

        var run = view.Runs.ShouldHaveSingleItem();
        run.Perplexity.ShouldNotBeNull().Value.ShouldBe(expected, expected * Within);
        var windows = (await bench.Client.GetRunAsync(run.Id, _ct)).Windows;
        windows.Count.ShouldBe(sums.Length);
        foreach (var window in windows)
            window.MeanNll.ShouldBe(sums[window.Window] / targets, 0.005);
    }

    [Fact]
    public async Task All_precisions_agree_with_the_node_on_the_first_windows_and_lose_little()
    {
        await bench.NeedAsync(_ct);

        var view = await RunAsync("precisions", BenchFixture.Model, BenchFixture.Dataset, "llama.cpp-512", 2, ["fp16", "w8a8", "w4a8", "w4a4"]);

        view.Runs.Count.ShouldBe(4);
        foreach (var run in view.Runs)
        {
            run.Perplexity.ShouldNotBeNull();
            run.Perplexity.Name.ShouldBe("llama.cpp-512[0:2]");
            run.Perplexity.NodeAgreement.ShouldNotBeNull().ShouldBeLessThan(0.02);
            run.Perplexity.Full.ShouldNotBeNull().Windows.ShouldBeGreaterThan(100);
        }

        var delta = view.Runs.Where(r => r.Precision != "fp16").ToDictionary(r => r.Precision, r => r.Perplexity!.Full!.DeltaPercent!.Value);
        delta["w8a8"].ShouldBeInRange(-1, 2);
        delta["w4a8"].ShouldBeGreaterThan(delta["w8a8"]);
        delta["w4a4"].ShouldBeGreaterThan(delta["w4a8"]);
    }

    private async Task<MatrixView> RunAsync(string name, string model, string dataset, string convention, int? windows, string[] precisions)
    {
        var id = await bench.Client.StartMatrixAsync(
            new MatrixSpec(name, [BenchFixture.BoardName], [model], precisions,
                [new WorkloadSpec("quality", [], null, null, 0, dataset, convention, windows)], new PolicySpec()), _ct);
        var view = await bench.WaitForEndAsync(id.ToString(), Limit, _ct);
        view.Summary.State.ShouldBe(MatrixState.Complete, BenchFixture.Describe(view));
        return view;
    }

    private async Task<double> CsvValueAsync(MatrixView view, string column)
    {
        var report = await bench.Client.GetReportAsync(view.Summary.Id.ToString(), "csv", _ct);
        var lines = System.Text.Encoding.UTF8.GetString(report.Content).Split('\n');
        return double.Parse(lines[1].Split(',')[Array.IndexOf(lines[0].Split(','), column)]);
    }

    /// <summary>PyTorch's figures in the model card.</summary>
    private static (double Perplexity, double[] WindowNllSums) Expected(string convention)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(Repository.Root, "infra", "samples", BenchFixture.Model, "training.json")));
        var entry = json.RootElement.GetProperty("conventions").GetProperty(convention);
        return (entry.GetProperty("perplexity").GetDouble(), [.. entry.GetProperty("window_nll_sum").EnumerateArray().Select(v => v.GetDouble())]);
    }
}
