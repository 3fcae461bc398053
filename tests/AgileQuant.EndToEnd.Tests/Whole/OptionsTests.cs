using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>Precisions with options and another architecture, from the matrix to the report, on the board behind a real sshd.</summary>
[Collection(BenchFixture.OneAtATime)]
public class OptionsTests(BenchFixture bench)
{
    private const string Opt = "docs-opt";
    private const string Pruned = "w8a8+prune-paper0.2";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(6);
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_pruned_precision_of_an_OPT_model_has_three_perplexities_on_the_board_and_on_the_node()
    {
        await bench.NeedAsync(_ct);
        var samples = Path.Combine(Repository.Root, "infra", "samples");
        (await bench.Client.ImportModelAsync(new ImportModelRequest(Path.Combine(samples, Opt), Opt), null, _ct)).Architecture.ShouldBe("opt");

        var id = await bench.Client.StartMatrixAsync(
            new MatrixSpec("options", [BenchFixture.BoardName], [Opt], ["fp16", "W8A8+prune-paper0.20"],
                [new WorkloadSpec("all", [], 64, null, 0, BenchFixture.Dataset, "llama.cpp-256", 2)], new PolicySpec(Rounds: 1)), _ct);
        var view = await bench.WaitForEndAsync(id.ToString(), Limit, _ct);

        view.Summary.State.ShouldBe(MatrixState.Complete, BenchFixture.Describe(view));
        var fp16 = view.Runs.Single(r => r.Precision == "fp16");
        fp16.Perplexity!.Survivors.ShouldBeNull();
        fp16.Speed!.Prefill!.RowShare.ShouldBeNull();
        var run = view.Runs.Single(r => r.Precision == Pruned);
        foreach (var (survivors, all) in new[] { (run.Perplexity!.Survivors, run.Perplexity.Value), (run.Perplexity.Full!.Survivors, run.Perplexity.Full.Value) })
        {
            survivors.ShouldNotBeNull();
            survivors.Share.ShouldBeInRange(0.5, 0.99);
            survivors.Value.ShouldNotBe(all);
            survivors.BaselineValue.ShouldNotBeNull();
        }

        run.Perplexity.Full.DeltaPercent.ShouldNotBeNull().ShouldBe(100 * ((run.Perplexity.Full.Value / fp16.Perplexity.Full!.Value) - 1), 0.01, "all tokens");
        run.Speed!.Prefill!.RowShare.ShouldNotBeNull().ShouldBeInRange(0.5, 0.999);
        (await bench.Client.ListDevicesAsync(_ct)).Single(d => d.Name == BenchFixture.BoardName).State.ShouldNotBe(DeviceState.Bad);

        var csv = System.Text.Encoding.UTF8.GetString((await bench.Client.GetReportAsync(id.ToString(), "csv", _ct)).Content);
        csv.ShouldContain(Pruned);
        (await bench.Bench.MustRunAsync("model", "show", Opt)).ShouldContain("opt");
    }

    [Fact]
    public async Task A_precision_that_needs_a_calibration_text_is_refused_without_one_and_with_the_text_that_is_scored()
    {
        await bench.NeedAsync(_ct);
        MatrixSpec Spec(string? calibration) => new("refused", [BenchFixture.BoardName], [BenchFixture.Model], ["w4a8+gptq"],
            [new WorkloadSpec("quality", [], null, null, 0, BenchFixture.Dataset, "llama.cpp-512", 2)], new PolicySpec(), calibration);

        (await Should.ThrowAsync<BenchException>(() => bench.Client.PlanMatrixAsync(Spec(null), _ct))).Message.ShouldContain("needs a calibration text");
        (await Should.ThrowAsync<BenchException>(() => bench.Client.PlanMatrixAsync(Spec(BenchFixture.Dataset), _ct)))
            .Message.ShouldContain("is the text that perplexity is measured on");
    }
}
