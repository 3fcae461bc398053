using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Storage;

public sealed class AcceptanceTests : IAsyncLifetime
{
    private TestStore? _store;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    private Task<long> CountAsync(string table) => Store.ScalarAsync<long>($"select count(*) from {table}");

    [Fact]
    public async Task A_complete_attempt_completes_its_runs_its_job_and_the_matrix()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();
        (await job.JobStateAsync()).ShouldBe("running");
        await job.Attempts.StageAsync(job.Lease, attempt, job.Complete(), Ct);
        await job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct);

        (await job.JobStateAsync()).ShouldBe("done");
        (await CountAsync("result")).ShouldBe(2);
        (await CountAsync("sample")).ShouldBe(2 * 3);
        (await Store.ScalarAsync<long>("select count(*) from run where state = 'complete'")).ShouldBe(2);
        (await Store.ScalarAsync<DateTime?>("select finished_at from matrix")).ShouldNotBeNull();
        foreach (var table in new[] { "staged_block", "staged_sample", "staged_nll", "staged_result" })
            (await CountAsync(table)).ShouldBe(0);
    }

    [Fact]
    public async Task Masks_of_survivors_and_shares_of_rows_are_kept_with_what_they_belong_to()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Quality, precisions: ["fp16", "w8a8+prune-paper0.2"]);
        var attempt = await job.StartAttemptAsync();
        var pruned = job.Plan.Runs.Single(r => r.Precision.Contains("prune", StringComparison.Ordinal)).Id;
        var outcome = job.Complete() with
        {
            Blocks = [.. job.Complete().Blocks.Select(b => b with { RowShare = b.Index == 1 ? 0.85 : null })],
            Windows = [new StagedWindow(job.Plan.Runs[0].Id, 0, [1, 2, 3]), new StagedWindow(pruned, 0, [1, 2, 3], [1, 0, 1])],
        };
        await job.Attempts.StageAsync(job.Lease, attempt, outcome, Ct);
        await job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct);

        (await Store.ScalarAsync<byte[]>("select survivors from nll where run_id = @pruned", new { pruned })).ShouldBe([1, 0, 1]);
        (await CountAsync("nll where survivors is null")).ShouldBe(1);
        (await job.Jobs.BlocksAsync(job.Job.Id, Ct)).Select(b => b.RowShare).ShouldBe([null, 0.85]);
        var wrong = Store.ExecuteAsync("update nll set survivors = '\\x01'::bytea where run_id = @pruned", new { pruned });
        (await Should.ThrowAsync<Npgsql.PostgresException>(wrong)).ConstraintName.ShouldBe("nll_survivors");
    }

    [Fact]
    public async Task Many_acceptances_at_once_accept_once()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();
        await job.Attempts.StageAsync(job.Lease, attempt, job.Complete(), Ct);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct)));
        (await CountAsync("result")).ShouldBe(2);
        (await CountAsync("sample")).ShouldBe(6);
        (await Store.ScalarAsync<int>("select attempts from job")).ShouldBe(1);
    }

    [Fact]
    public async Task A_second_result_of_one_run_and_kind_is_never_accepted()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();
        await job.Attempts.StageAsync(job.Lease, attempt, job.Complete(), Ct);
        await job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct);
        var insert = Store.ExecuteAsync(
            "insert into result (run_id, kind, attempt_id, accepted, figures) select run_id, kind, attempt_id, true, figures from result limit 1");
        (await Should.ThrowAsync<Npgsql.PostgresException>(insert)).ConstraintName.ShouldBe("result_accepted");
    }

    [Fact]
    public async Task A_driver_that_lost_its_lease_cannot_accept_or_write_progress()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();
        await job.Attempts.StageAsync(job.Lease, attempt, job.Complete(), Ct);
        await Store.ExecuteAsync("update device set epoch = epoch + 1");
        await Should.ThrowAsync<LeaseLostException>(() => job.Attempts.AcceptAsync(job.Lease, attempt, "done", null, TimeSpan.Zero, Ct));
        await Should.ThrowAsync<LeaseLostException>(() => job.Attempts.ProgressAsync(job.Lease, attempt, 99, 0.9, [], Ct));
        await Should.ThrowAsync<LeaseLostException>(() => job.Attempts.RunningAsync(job.Lease, attempt, Ct));
        await job.Jobs.EndAsync(job.Lease, job.Job.Id, "failed", "stale", Ct);
        await job.Jobs.MarkImpossibleAsync(job.Lease, job.Job.Id, "fp16", "stale", Ct);
        (await CountAsync("result")).ShouldBe(0);
        (await Store.ScalarAsync<long>("select journal_offset from attempt")).ShouldBe(0);
        (await job.JobStateAsync()).ShouldBe("running");
        (await Store.ScalarAsync<long>("select count(*) from block where state = 'impossible'")).ShouldBe(0);
    }

    [Fact]
    public async Task Rows_staged_by_a_driver_that_lost_its_lease_in_the_middle_are_not_accepted_by_the_next()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();

        // The old driver is in the middle of its COPY while the lease moves on; COPY holds no lock, so the take-over does not wait.
        await using var connection = await Store.Database.OpenAsync(Ct);
        await using (var copy = await connection.BeginBinaryImportAsync(
            "copy staged_result (attempt_id, epoch, run_id, kind, figures, grade) from stdin (format binary)", Ct))
        {
            await copy.StartRowAsync(Ct);
            await copy.WriteAsync(attempt, Ct);
            await copy.WriteAsync(job.Lease.Epoch, Ct);
            await copy.WriteAsync(job.Plan.Runs[0].Id, Ct);
            await copy.WriteAsync("speed", Ct);
            await copy.WriteAsync("""{"stale":true}""", NpgsqlTypes.NpgsqlDbType.Jsonb, Ct);
            await copy.WriteNullAsync(Ct);
            await Store.ExecuteAsync("update device set lease_until = clock_timestamp() - interval '1 second'");
            await copy.CompleteAsync(Ct);
        }

        var next = await Store.AddNodeAsync("next");
        var lease = (await Store.Leases(next).AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        lease.Epoch.ShouldBeGreaterThan(job.Lease.Epoch);
        var attempts = new AttemptStore(Store.Database, next);
        await attempts.RunningAsync(lease, attempt, Ct);
        await attempts.StageAsync(lease, attempt, job.Complete(), Ct);
        await attempts.AcceptAsync(lease, attempt, "done", null, TimeSpan.Zero, Ct);
        (await CountAsync("result")).ShouldBe(2);
        (await Store.ScalarAsync<long>("select count(*) from result where figures ? 'stale'")).ShouldBe(0);
        (await CountAsync("staged_result")).ShouldBe(0);
    }

    [Fact]
    public async Task Finished_blocks_of_a_lost_attempt_are_kept_and_the_job_waits_for_the_rest()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();
        var half = job.Complete() with { Blocks = [.. job.Complete().Blocks.Take(1)], Results = [] };
        await job.Attempts.StageAsync(job.Lease, attempt, half, Ct);
        await job.Attempts.AcceptAsync(job.Lease, attempt, "lost", "the board rebooted", TimeSpan.Zero, Ct);
        (await job.JobStateAsync()).ShouldBe("waiting");
        var blocks = await job.Jobs.BlocksAsync(job.Job.Id, Ct);
        blocks.Count(b => b.State == "done").ShouldBe(1);
        blocks.Count(b => b.State == "planned").ShouldBe(job.Job.Blocks.Count - 1);
        (await job.Jobs.SamplesAsync(job.Job.Id, Ct)).Count.ShouldBe(3);
        (await job.Jobs.NextAsync(job.Lease.DeviceId, Ct)).ShouldNotBeNull().Attempts.ShouldBe(1);
    }

    [Fact]
    public async Task After_the_last_attempt_the_job_fails_and_its_runs_say_why()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed, maxAttempts: 2);
        for (var i = 0; i < 2; i++)
        {
            var attempt = await job.StartAttemptAsync();
            await job.Attempts.AcceptAsync(job.Lease, attempt, "failed", "the engine crashed", TimeSpan.Zero, Ct);
        }

        (await job.JobStateAsync()).ShouldBe("failed");
        (await Store.ScalarAsync<string>("select distinct reason from run where state = 'incomplete'")).ShouldBe("the engine crashed (2 attempts)");
        (await Store.ScalarAsync<DateTime?>("select finished_at from matrix")).ShouldNotBeNull();
    }

    [Fact]
    public async Task A_device_has_one_live_attempt_at_most()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        await job.StartAttemptAsync();
        await Should.ThrowAsync<LeaseLostException>(job.StartAttemptAsync);
        var insert = Store.ExecuteAsync(
            """
            insert into attempt (id, job_id, device_id, number, node_id, epoch, plan, engine_sha256, transport)
            select gen_random_uuid(), job_id, device_id, 9, node_id, epoch, '', '', '' from attempt
            """);
        (await Should.ThrowAsync<Npgsql.PostgresException>(insert)).ConstraintName.ShouldBe("attempt_live");
    }

    [Fact]
    public async Task Cancelling_ends_what_waits_at_once_and_what_runs_when_it_is_stopped()
    {
        var job = await TestJob.CreateAsync(Store, TestJob.Speed);
        var attempt = await job.StartAttemptAsync();
        (await new MatrixStore(Store.Database).CancelAsync(job.Matrix, "me", Ct)).ShouldBeTrue();
        (await job.Jobs.FindAsync(job.Job.Id, Ct))!.CancelRequested.ShouldBeTrue();
        (await Store.ScalarAsync<DateTime?>("select finished_at from matrix")).ShouldBeNull("an attempt still runs");
        await job.Attempts.AcceptAsync(job.Lease, attempt, "stopped", "stopped on request", TimeSpan.Zero, Ct);
        (await job.JobStateAsync()).ShouldBe("cancelled");
        (await Store.ScalarAsync<string>("select distinct state from run")).ShouldBe("cancelled");
        (await Store.ScalarAsync<DateTime?>("select finished_at from matrix")).ShouldNotBeNull();
    }
}
