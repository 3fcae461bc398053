using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Storage;

/// <summary>When a matrix has ended, and what it still waits for.</summary>
public sealed class SettlingTests : IAsyncLifetime
{
    private TestStore? _store;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    private NodeJobStore NodeJobs(TestJob job) => new(Store.Database, job.Node, Store.Options);

    private async Task<bool> FinishedAsync(Guid matrix) =>
        await Store.ScalarAsync<DateTime?>("select finished_at from matrix where id = @matrix", new { matrix }) is not null;

    /// <summary>A matrix whose runs have their perplexities, while the node's scores of the whole text wait.</summary>
    private async Task<TestJob> MeasuredAsync()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Quality);
        var attempt = await job.StartAttemptAsync();
        var outcome = job.Complete() with { Results = [.. job.Plan.Runs.Select(r => new StagedResult(r.Id, "perplexity", "{}", null))] };
        await job.Attempts.StageAsync(job.Lease, attempt, outcome, Ct);
        await job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct);
        (await Store.ScalarAsync<long>("select count(*) from run where state = 'complete'")).ShouldBe(2);
        (await FinishedAsync(job.Matrix)).ShouldBeFalse("the whole text is not scored yet");
        return job;
    }

    [Fact]
    public async Task A_matrix_ends_when_its_whole_texts_are_scored_and_compared()
    {
        var job = await MeasuredAsync();
        var jobs = NodeJobs(job);
        var figures = Json.Write(new ScoreFigures(PerplexityFigures.Perplexity([[1f, 2f], [2f, 3f]]), null));
        while (await jobs.ClaimAsync(Ct) is { } claimed)
        {
            claimed.Kind.ShouldBe("score");
            (await FinishedAsync(job.Matrix)).ShouldBeFalse();
            await jobs.FinishScoreAsync(claimed, [[1f, 2f], [2f, 3f]], null, figures, "engine", null, Ct);
            await jobs.SweepAsync(Ct);
        }

        (await FinishedAsync(job.Matrix)).ShouldBeFalse("boards and node are not compared yet");
        var scores = new ScoreStore(Store.Database);
        foreach (var result in await scores.ComparableResultsAsync(Ct))
            await scores.SetAgreementAsync(result.ResultId, 0, Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeFalse("the other precision is not compared with fp16 yet");
        var score = (await scores.ComparableScoresAsync(Ct)).ShouldHaveSingleItem();
        await scores.SetFiguresAsync(score.ScoreId, Json.Read<ScoreFigures>(figures)! with { DeltaPercent = PerplexityFigures.Perplexity([[1f], [2f]]) }, Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_comparison_that_is_never_made_does_not_keep_a_matrix_open()
    {
        var job = await MeasuredAsync();
        await Store.ExecuteAsync(
            """
            update score set figures = '{"deltaPercent": null}';
            update node_job set state = 'done', finished_at = clock_timestamp() where kind = 'score';
            """);
        await NodeJobs(job).SweepAsync(Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeFalse();
        await Store.ExecuteAsync(
            """
            update node_job set finished_at = finished_at - interval '1 minute';
            update result set created_at = created_at - interval '1 minute';
            """);
        await NodeJobs(job).SweepAsync(Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_score_that_failed_does_not_keep_a_matrix_open()
    {
        var job = await MeasuredAsync();
        var jobs = NodeJobs(job);
        while (await jobs.ClaimAsync(Ct) is { } claimed)
            await jobs.FailAsync(claimed, "no engine", final: true, TimeSpan.Zero, Ct);
        await jobs.SweepAsync(Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
    }

    [Fact]
    public async Task Cancelling_a_matrix_that_waits_for_scores_ends_it_and_stops_the_running_score()
    {
        var job = await MeasuredAsync();
        var jobs = NodeJobs(job);
        var running = (await jobs.ClaimAsync(Ct))!;
        (await jobs.RenewAsync(running, 0.1, Ct)).ShouldBeTrue();
        await new MatrixStore(Store.Database).CancelAsync(job.Matrix, "me", Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
        (await jobs.RenewAsync(running, 0.2, Ct)).ShouldBeFalse("nobody waits for it");
        (await jobs.ClaimAsync(Ct)).ShouldBeNull();
        await jobs.SweepAsync(Ct);
        (await Store.ScalarAsync<string>("select distinct state from node_job where kind = 'score'")).ShouldBe("cancelled");
    }

    [Fact]
    public async Task Work_that_another_matrix_waits_for_goes_on_when_one_is_cancelled()
    {
        var job = await MeasuredAsync();
        var (other, _) = await TestJob.AddMatrixAsync(Store, job.Lease.DeviceId, TestJob.Quality);
        var jobs = NodeJobs(job);
        var running = (await jobs.ClaimAsync(Ct))!;
        await new MatrixStore(Store.Database).CancelAsync(job.Matrix, "me", Ct);
        (await jobs.RenewAsync(running, 0.2, Ct)).ShouldBeTrue();
        await new MatrixStore(Store.Database).CancelAsync(other, "me", Ct);
        (await jobs.RenewAsync(running, 0.2, Ct)).ShouldBeFalse();
    }

    [Fact]
    public async Task Ending_a_job_settles_its_runs_and_matrix_with_it()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        await job.Jobs.EndAsync(job.Lease with { Epoch = job.Lease.Epoch - 1 }, job.Job.Id, "failed", "stale", Ct);
        (await job.JobStateAsync()).ShouldBe("waiting");
        await job.Jobs.EndAsync(job.Lease, job.Job.Id, "failed", "nothing can run", Ct);
        (await Store.ScalarAsync<string>("select distinct state || ': ' || reason from run")).ShouldBe("incomplete: nothing can run");
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_precision_that_the_board_skips_ends_at_once_and_the_matrix_is_complete_without_it()
    {
        const string reason = "this CPU has no bf16 instruction";
        var job = await TestJob.CreateAsync(Store, TestJob.Speed, precisions: ["fp16", "bf16"]);
        await job.Jobs.SkipAsync(job.Lease with { Epoch = job.Lease.Epoch - 1 }, job.Job.Id, "bf16", "stale", Ct);
        (await Store.ScalarAsync<long>("select count(*) from run where state = 'open'")).ShouldBe(2);
        await job.Jobs.SkipAsync(job.Lease, job.Job.Id, "bf16", reason, Ct);
        (await Store.ScalarAsync<string>("select state || ': ' || reason from run where precision = 'bf16'")).ShouldBe("skipped: " + reason);
        (await job.JobStateAsync()).ShouldBe("waiting", "fp16 is still to be measured");

        var attempt = await job.StartAttemptAsync();
        var all = job.Complete();
        var baseline = job.Plan.Runs.Single(r => r.Precision == "fp16").Id;
        var indexes = job.Job.Blocks.Where(b => b.Precision == "fp16").Select(b => b.Index).ToHashSet();
        await job.Attempts.StageAsync(job.Lease, attempt, all with { Blocks = [.. all.Blocks.Where(b => indexes.Contains(b.Index))], Results = [.. all.Results.Where(r => r.RunId == baseline)] }, Ct);
        await job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct);
        (await job.JobStateAsync()).ShouldBe("done");
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
        var view = (await new ViewStore(Store.Database).MatrixAsync(job.Matrix, Ct))!;
        (view.Summary.State, view.Summary.Complete, view.Summary.Skipped, view.Summary.Failed).ShouldBe((MatrixState.Complete, 1, 1, 0));
        view.Runs.Single(r => r.Precision == "bf16").ShouldSatisfyAllConditions(r => r.State.ShouldBe(RunState.Skipped), r => r.Reason.ShouldBe(reason));
    }

    [Fact]
    public async Task A_skipped_run_does_not_hide_that_another_one_lacks_its_results()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed, precisions: ["fp16", "bf16"]);
        await job.Jobs.SkipAsync(job.Lease, job.Job.Id, "bf16", "no kernel", Ct);
        await job.Jobs.EndAsync(job.Lease, job.Job.Id, "failed", "the engine crashed", Ct);
        var view = (await new ViewStore(Store.Database).MatrixAsync(job.Matrix, Ct))!;
        (view.Summary.State, view.Summary.Skipped, view.Summary.Failed).ShouldBe((MatrixState.Incomplete, 1, 1));
    }

    [Fact]
    public async Task What_earlier_versions_left_incomplete_for_want_of_bf16_becomes_skipped()
    {
        const string words = "this CPU has no bf16 instruction (aqengine info names no bf16 kernel); fp16 is the 16-bit path here";
        var job = await TestJob.CreateAsync(Store, TestJob.Speed, precisions: ["fp16", "bf16"]);
        await job.Jobs.MarkImpossibleAsync(job.Lease, job.Job.Id, "bf16", "skipped: " + words, Ct);
        await job.Jobs.EndAsync(job.Lease, job.Job.Id, "failed", "the engine crashed", Ct);
        (await Store.ScalarAsync<string>("select distinct state from run")).ShouldBe("incomplete");

        var migration = await File.ReadAllTextAsync(
            Path.Combine(RepoFiles.Root, "orchestrator", "AgileQuant.Orchestrator", "Storage", "Migrations", "0006_skipped.sql"), Ct);
        await Store.ExecuteAsync(migration[migration.IndexOf("-- What earlier versions recorded", StringComparison.Ordinal)..]);

        (await Store.ScalarAsync<string>("select string_agg(precision || ' ' || state || ': ' || reason, ', ' order by precision) from run"))
            .ShouldBe($"bf16 skipped: {words}, fp16 incomplete: the engine crashed");
    }

    [Fact]
    public async Task A_matrix_does_not_wait_for_scores_that_its_node_cannot_make_and_another_start_asks_again()
    {
        var job = await MeasuredAsync();
        var jobs = NodeJobs(job);
        while (await jobs.ClaimAsync(Ct) is { } claimed)
            (await jobs.SkipAsync(claimed, "no kernel on this node", Ct)).ShouldBeTrue();
        await jobs.SweepAsync(Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
        (await Store.ScalarAsync<string>("select distinct state || ': ' || reason from node_job where kind = 'score'")).ShouldBe("skipped: no kernel on this node");
        await TestJob.AddMatrixAsync(Store, job.Lease.DeviceId, TestJob.Quality);
        (await jobs.ClaimAsync(Ct)).ShouldNotBeNull("another node may have the instruction").Kind.ShouldBe("score");
    }

    [Fact]
    public async Task The_last_try_that_did_not_start_ends_the_job_and_its_runs()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed, maxAttempts: 2);
        await job.Jobs.FailStartAsync(job.Lease, job.Job.Id, "no space", TimeSpan.Zero, Ct);
        (await job.JobStateAsync()).ShouldBe("waiting");
        await job.Jobs.FailStartAsync(job.Lease, job.Job.Id, "no space", TimeSpan.Zero, Ct);
        (await job.JobStateAsync()).ShouldBe("failed");
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
    }

    [Fact]
    public async Task What_a_killed_process_left_between_is_settled_at_the_next_start()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        await Store.ExecuteAsync("update job set state = 'failed', reason = 'killed here'");
        await NodeJobs(job).SweepAsync(Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeFalse();
        await NodeJobs(job).SettleAllAsync(Ct);
        (await FinishedAsync(job.Matrix)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_pack_whose_file_is_gone_is_made_again_and_jobs_wait_for_it()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var jobs = NodeJobs(job);
        var made = await jobs.MadeAsync(job.Matrix, Ct);
        made.Count.ShouldBe(2);
        (await job.Jobs.NextAsync(job.Lease.DeviceId, Ct)).ShouldNotBeNull();
        (await jobs.RemakeAsync(new string('f', 64), Ct)).ShouldBeFalse("nobody made such a file");
        (await jobs.RemakeAsync(made[0].Sha256, Ct)).ShouldBeTrue();
        (await jobs.RemakeAsync(made[0].Sha256, Ct)).ShouldBeTrue("it is on its way");
        (await job.Jobs.NextAsync(job.Lease.DeviceId, Ct)).ShouldBeNull();
        while (await jobs.ClaimAsync(Ct) is { } claimed)
            (await jobs.FinishPackAsync(claimed, made[0].Sha256, 10, null, Ct)).ShouldBeTrue();
        (await job.Jobs.NextAsync(job.Lease.DeviceId, Ct)).ShouldNotBeNull();
    }
}
