using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Storage;

public sealed class PrunedScoreTests : IAsyncLifetime
{
    private const string Pruned = "w8a8+prune-paper0.2";
    private TestStore? _store;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    [Fact]
    public async Task A_nodes_score_of_a_pruned_pack_gets_fp16s_part_when_both_are_there()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Quality, precisions: ["fp16", Pruned]);
        var jobs = new NodeJobStore(Store.Database, job.Node, Store.Options);
        while (await jobs.ClaimAsync(Ct) is { } claimed)
        {
            var input = (await jobs.ScoreInputAsync(claimed.SubjectId, Ct))!;
            float[][] nlls = input.Precision == Pruned ? [[1f, 9f], [2f, 9f]] : [[1f, 5f], [1f, 5f]];
            byte[][]? masks = input.Precision == Pruned ? [[1, 0], [1, 0]] : null;
            var figures = new ScoreFigures(PerplexityFigures.Perplexity(nlls), null, masks is null ? null : PerplexityFigures.OnSurvivors(nlls, masks, null, false));
            (await jobs.FinishScoreAsync(claimed, nlls, masks, Json.Write(figures), "engine", null, Ct)).ShouldBeTrue();
        }

        var scores = new ScoreStore(Store.Database);
        (await new Comparison(scores, new DeviceStore(Store.Database, job.Node)).RunAsync(Ct)).ShouldBeTrue();

        var stored = Json.Read<ScoreFigures>(await Store.ScalarAsync<string>(
            "select s.figures::text from score s join pack p on p.id = s.pack_id where p.precision = @Pruned", new { Pruned }))!;
        stored.DeltaPercent!.Value.ShouldBe(100 * (Math.Exp(5.25 - 3) - 1), 1e-6, "every token counts");
        stored.Survivors!.Value.ShouldBe(Math.Exp(1.5), 1e-6);
        stored.Survivors.BaselineValue!.Value.ShouldBe(Math.Exp(1), 1e-6);
        stored.Survivors.Share.ShouldBe(0.5);
        (await Store.ScalarAsync<long>("select count(*) from score_window where survivors is null")).ShouldBe(2, "fp16 prunes nothing");
    }

    [Fact]
    public async Task Nothing_stands_in_the_way_when_the_blocker_has_just_gone()
    {
        var hosts = new HostUseStore(Store.Database, Store.Options);
        var (first, second) = (Guid.NewGuid(), Guid.NewGuid());
        (await hosts.TakeAsync("boot", first, HostUse.Exclusive, "timing on pi4", Ct)).ShouldBeTrue();
        (await hosts.TakeAsync("boot", second, HostUse.Exclusive, "timing on pi5", Ct)).ShouldBeFalse();
        (await hosts.BlockersAsync("boot", second, Ct)).ShouldBe("timing on pi4");
        await hosts.ReleaseAsync(first, Ct);
        (await hosts.BlockersAsync("boot", second, Ct)).ShouldBeNull("a job must not say that it waits for nothing");
    }
}
