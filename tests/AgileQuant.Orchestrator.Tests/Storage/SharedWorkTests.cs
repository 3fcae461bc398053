using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Storage;

public sealed class SharedWorkTests : IAsyncLifetime
{
    private TestStore? _store;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    private async Task<NodeJobStore> NodeJobsAsync(string name) => new(Store.Database, await Store.AddNodeAsync(name), Store.Options);

    [Fact]
    public async Task A_pack_is_made_once_however_many_matrices_and_nodes_want_it()
    {
        var device = await Store.AddDeviceAsync();
        await TestJob.AddMatrixAsync(Store, device, TestJob.Speed);
        await TestJob.AddMatrixAsync(Store, device, TestJob.Speed);
        (await Store.ScalarAsync<long>("select count(*) from node_job where kind = 'pack'")).ShouldBe(2);
        var nodes = new[] { await NodeJobsAsync("a"), await NodeJobsAsync("b") };
        var claims = await Task.WhenAll(Enumerable.Range(0, 10).Select(i => nodes[i % 2].ClaimAsync(Ct)));
        claims.OfType<NodeJobRow>().Select(c => c.SubjectId).ShouldBeUnique();
        claims.Count(c => c is not null).ShouldBe(2);
    }

    [Fact]
    public async Task A_node_that_lost_its_claim_stores_nothing()
    {
        await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Speed);
        var first = await NodeJobsAsync("a");
        var second = await NodeJobsAsync("b");
        var old = (await first.ClaimAsync(Ct))!;
        await Store.ExecuteAsync("update node_job set lease_until = clock_timestamp() - interval '1 second' where id = @Id", new { old.Id });
        await Store.ExecuteAsync("update node_job set state = 'done' where id <> @Id", new { old.Id });
        var taken = (await second.ClaimAsync(Ct))!;
        taken.Id.ShouldBe(old.Id);
        var (wrong, right) = (new string('b', 64), new string('c', 64));
        (await first.RenewAsync(old, 0.5, Ct)).ShouldBeFalse();
        (await first.FinishPackAsync(old, wrong, 1, null, Ct)).ShouldBeFalse();
        (await second.FinishPackAsync(taken, right, 1, null, Ct)).ShouldBeTrue();
        (await first.FinishPackAsync(old, wrong, 1, null, Ct)).ShouldBeFalse();
        (await Store.ScalarAsync<string>("select sha256 from pack where id = @SubjectId", new { old.SubjectId })).ShouldBe(right);
    }

    [Fact]
    public async Task A_score_waits_for_its_pack_and_tokens_and_fails_with_them()
    {
        await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Quality);
        var jobs = await NodeJobsAsync("a");
        for (var job = await jobs.ClaimAsync(Ct); job is not null; job = await jobs.ClaimAsync(Ct))
        {
            job.Kind.ShouldNotBe("score");
            await jobs.FailAsync(job, "the disk is full", final: true, TimeSpan.Zero, Ct);
        }

        await jobs.SweepAsync(Ct);
        (await Store.ScalarAsync<long>("select count(*) from node_job where kind = 'score' and state = 'failed'")).ShouldBe(2);
    }

    [Fact]
    public async Task A_calibrated_pack_waits_for_its_tokens_and_keeps_the_complete_recipe()
    {
        await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Speed, precisions: ["fp16", "w4a8+gptq"], calibration: "other");
        var jobs = await NodeJobsAsync("a");
        var claimed = new List<NodeJobRow>();
        for (var job = await jobs.ClaimAsync(Ct); job is not null; job = await jobs.ClaimAsync(Ct))
            claimed.Add(job);
        claimed.Select(j => j.Kind).ShouldBe(["tokens", "pack"], "the fp16 pack needs no tokens, the calibrated one waits");
        (await jobs.FinishTokensAsync(claimed[0], new string('d', 64), 10, 5000, Ct)).ShouldBeTrue();

        var pack = (await jobs.ClaimAsync(Ct)).ShouldNotBeNull();
        pack.Kind.ShouldBe("pack");
        var assets = new AssetStore(Store.Database);
        var ordered = (await assets.PackAsync(pack.SubjectId, Ct))!;
        ordered.Calibration.ShouldBe(new CalibrationView("other", new string('b', 64), new string('d', 64), null, null));
        var complete = Engine.PackRecipe.For(Engine.Precision.Parse("w4a8+gptq"), 32, new Engine.CalibrationText(new string('d', 64), 9, 512)).ToCanonicalJson();
        (await jobs.FinishPackAsync(pack, new string('e', 64), 1, complete, Ct)).ShouldBeTrue();
        var made = (await assets.PackAsync(pack.SubjectId, Ct))!;
        made.Recipe.ShouldBe(complete);
        made.Calibration!.Describe().ShouldBe("other, 9 windows of 512 ids, tokens dddddddddddd…");

        await TestJob.AddMatrixAsync(Store, await Store.ScalarAsync<Guid>("select id from device"), TestJob.Speed, precisions: ["fp16", "w4a8+gptq"], calibration: "other");
        (await Store.ScalarAsync<long>("select count(*) from pack")).ShouldBe(2, "the same order is the same pack");
        (await assets.PackAsync(pack.SubjectId, Ct))!.Recipe.ShouldBe(complete, "a second order leaves the complete recipe");
    }

    [Fact]
    public async Task A_calibrated_pack_fails_with_its_tokens_and_says_why()
    {
        await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Speed, precisions: ["fp16", "w8a8+trip"], calibration: "other");
        var jobs = await NodeJobsAsync("a");
        var tokens = (await jobs.ClaimAsync(Ct))!;
        await jobs.FailAsync(tokens, "the text is gone", final: true, TimeSpan.Zero, Ct);
        await jobs.SweepAsync(Ct);
        (await Store.ScalarAsync<string>("select n.reason from node_job n join pack p on p.id = n.subject_id where n.state = 'failed' and p.precision = 'w8a8+trip'"))!
            .ShouldContain("the text is gone");
    }

    [Fact]
    public async Task A_failed_pack_gets_new_tries_when_another_matrix_wants_it()
    {
        var device = await Store.AddDeviceAsync();
        await TestJob.AddMatrixAsync(Store, device, TestJob.Speed);
        var jobs = await NodeJobsAsync("a");
        var job = (await jobs.ClaimAsync(Ct))!;
        await jobs.FailAsync(job, "broken", final: true, TimeSpan.Zero, Ct);
        await TestJob.AddMatrixAsync(Store, device, TestJob.Speed);
        (await Store.ScalarAsync<string>("select state from node_job where id = @Id", new { job.Id })).ShouldBe("waiting");
    }

    [Fact]
    public async Task Work_that_only_cancelled_matrices_want_is_not_done()
    {
        var (matrix, _) = await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Speed);
        await new MatrixStore(Store.Database).CancelAsync(matrix, "me", Ct);
        (await (await NodeJobsAsync("a")).ClaimAsync(Ct)).ShouldBeNull();
    }

    [Fact]
    public async Task A_timing_job_has_its_host_to_itself()
    {
        var hosts = new HostUseStore(Store.Database, Store.Options);
        Guid pack = Guid.NewGuid(), timing = Guid.NewGuid(), other = Guid.NewGuid();
        (await hosts.TakeAsync("boot", pack, HostUse.Shared, "packing", Ct)).ShouldBeTrue();
        (await hosts.TakeAsync("boot", timing, HostUse.Exclusive, "timing", Ct)).ShouldBeFalse();
        (await hosts.BlockersAsync("boot", timing, Ct)).ShouldBe("packing");
        (await hosts.TakeAsync("boot", other, HostUse.Shared, "perplexity", Ct)).ShouldBeFalse("a timing job waits: nobody new comes in");
        (await hosts.TakeAsync("boot", pack, HostUse.Shared, "packing", Ct)).ShouldBeTrue("who is in stays in");
        (await hosts.TakeAsync("another", other, HostUse.Shared, "perplexity", Ct)).ShouldBeTrue("another machine is another matter");
        await hosts.ReleaseAsync(pack, Ct);
        (await hosts.TakeAsync("boot", timing, HostUse.Exclusive, "timing", Ct)).ShouldBeTrue();
        (await hosts.TakeAsync("boot", pack, HostUse.Shared, "packing", Ct)).ShouldBeFalse();
        await Store.ExecuteAsync("update host_use set until = clock_timestamp() - interval '1 second'");
        (await hosts.TakeAsync("boot", pack, HostUse.Shared, "packing", Ct)).ShouldBeTrue("its holder is gone");
    }

    [Fact]
    public async Task Of_two_timing_jobs_the_first_to_ask_goes_first()
    {
        var hosts = new HostUseStore(Store.Database, Store.Options);
        Guid first = Guid.NewGuid(), second = Guid.NewGuid(), user = Guid.NewGuid();
        await hosts.TakeAsync("boot", user, HostUse.Shared, "packing", Ct);
        await hosts.TakeAsync("boot", first, HostUse.Exclusive, "first", Ct);
        await hosts.TakeAsync("boot", second, HostUse.Exclusive, "second", Ct);
        await hosts.ReleaseAsync(user, Ct);
        (await hosts.TakeAsync("boot", second, HostUse.Exclusive, "second", Ct)).ShouldBeFalse();
        (await hosts.TakeAsync("boot", first, HostUse.Exclusive, "first", Ct)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_sign_in_link_works_once()
    {
        var signIn = new SignInService(Store.Database);
        var token = await signIn.CreateOneTimeTokenAsync(TimeSpan.FromMinutes(5), Ct);
        var redeemed = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => signIn.RedeemAsync(token, Ct)));
        redeemed.Count(r => r).ShouldBe(1);
        (await signIn.RedeemAsync(new string('0', 64), Ct)).ShouldBeFalse();
        (await Store.ScalarAsync<long>("select count(*) from sign_in_token where hash = @token", new { token })).ShouldBe(0, "only its hash is stored");
        var late = await signIn.CreateOneTimeTokenAsync(TimeSpan.FromMinutes(5), Ct);
        await Store.ExecuteAsync("update sign_in_token set expires_at = clock_timestamp() - interval '1 second'");
        (await signIn.RedeemAsync(late, Ct)).ShouldBeFalse();
    }

    [Fact]
    public async Task Migrations_run_once_when_several_nodes_start_together()
    {
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Migrator.MigrateAsync(Store.Database, Ct)));
        (await Store.ScalarAsync<long>("select count(*) from cluster")).ShouldBe(1);
        await Store.ExecuteAsync("insert into schema_migration (name, sha256) values ('9999_future', 'x')");
        (await Should.ThrowAsync<UserErrorException>(() => Migrator.MigrateAsync(Store.Database, Ct))).Message.ShouldContain("Update AgileQuant.Bench");
    }

    [Fact]
    public async Task Nodes_give_back_what_they_hold_when_they_stop()
    {
        var device = await Store.AddDeviceAsync("board", "offline");
        var node = await Store.AddNodeAsync();
        (await Store.Leases(node).AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        await new NodeStore(Store.Database, Store.Options).StopAsync(node, Ct);
        (await Store.ScalarAsync<Guid?>("select lease_node from device where id = @device", new { device })).ShouldBeNull();
    }
}
