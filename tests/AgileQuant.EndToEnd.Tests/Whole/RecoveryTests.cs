using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>A node that dies and a connection that breaks in the middle of a job lose nothing and count nothing twice.</summary>
[Collection(BenchFixture.OneAtATime)]
public class RecoveryTests(BenchFixture bench)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);
    private static readonly string[] Precisions = ["fp16", "w8a8"];
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Killing_the_node_in_the_middle_of_a_job_loses_nothing_and_counts_nothing_twice()
    {
        await bench.NeedAsync(_ct);
        var id = await StartAsync("killed");
        await UntilTimingRunsAsync(id);

        await bench.KillNodeAsync(_ct);
        await bench.Bench.MustRunAsync("up", "--port", "18580");

        await CompleteWithOneResultOfEachKindAsync(id);
    }

    [Fact]
    public async Task Cutting_ssh_while_a_job_runs_loses_nothing_and_starts_nothing_twice()
    {
        await bench.NeedAsync(_ct);
        var id = await StartAsync("cut");
        await UntilTimingRunsAsync(id);

        await bench.Board.CutSessionsAsync(_ct);

        var view = await CompleteWithOneResultOfEachKindAsync(id);
        view.Jobs.Where(j => j.Device is not null).ShouldAllBe(j => j.Attempts == 1, "the engine went on by itself; no second attempt was needed");
    }

    private Task<Guid> StartAsync(string name) => bench.Client.StartMatrixAsync(
        new MatrixSpec(name, [BenchFixture.BoardName], [BenchFixture.Model], Precisions,
            [new WorkloadSpec("both", [], 64, 8, 0, BenchFixture.Dataset, "llama.cpp-512", 2)],
            new PolicySpec(Rounds: 12, MinRepetitions: 4, MaxRepetitions: 6, WarmupMax: 2, CoolDownTimeoutSeconds: 5)), _ct);

    private Task<MatrixView> UntilTimingRunsAsync(Guid id) => bench.UntilAsync(
        id.ToString(), v => v.Jobs.Any(j => j is { Kind: "timing", State: "running", Progress: > 0 }), Limit, _ct);

    private async Task<MatrixView> CompleteWithOneResultOfEachKindAsync(Guid id)
    {
        var view = await bench.WaitForEndAsync(id.ToString(), Limit, _ct);
        view.Summary.State.ShouldBe(MatrixState.Complete, BenchFixture.Describe(view));
        view.Runs.Count.ShouldBe(Precisions.Length);
        foreach (var run in view.Runs)
        {
            run.Perplexity.ShouldNotBeNull();
            run.Speed.ShouldNotBeNull();
            (await bench.AcceptedAsync(run.Id, _ct)).ShouldBe(["perplexity", "speed"]);
            var own = (await bench.Client.GetRunAsync(run.Id, _ct)).Blocks.Where(b => b.Precision == run.Precision).ToList();
            own.Select(b => b.Index).ShouldBeUnique();
            own.ShouldAllBe(b => b.Samples.Count >= 4);
        }

        view.Runs.Single(r => r.Precision == "w8a8").Speed!.Generation!.Speedup!.PairedBlocks.ShouldBeGreaterThanOrEqualTo(12);
        return view;
    }
}
