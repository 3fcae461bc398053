using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Ownership;

/// <summary>What every implementation of ownership must do. One suite, run against each.</summary>
public abstract class DeviceOwnershipContract : IAsyncLifetime
{
    private TestStore? _store;
    private NodeIdentity? _first, _second;

    internal TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    internal abstract IDeviceOwnership Create(TestStore store, NodeIdentity node);

    public async ValueTask InitializeAsync()
    {
        _store = await TestStore.CreateAsync();
        _first = await Store.AddNodeAsync("first");
        _second = await Store.AddNodeAsync("second");
    }

    public async ValueTask DisposeAsync()
    {
        await Store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    private IDeviceOwnership First => Create(Store, _first!);

    private IDeviceOwnership Second => Create(Store, _second!);

    private Task<Guid> WantedDeviceAsync(string name = "board") => Store.AddDeviceAsync(name, "offline");

    /// <summary>A single live node, so that the fair share is everything.</summary>
    private Task OnlyFirstIsAliveAsync() => Store.ExecuteAsync("update node set stopped_at = clock_timestamp() where id = @Id", new { _second!.Id });

    [Fact]
    public async Task A_device_that_needs_nothing_is_left_alone()
    {
        await Store.AddDeviceAsync();
        (await First.AcquireAsync(0, Ct)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Of_two_owners_one_gets_the_device()
    {
        var device = await WantedDeviceAsync();
        var both = await Task.WhenAll(First.AcquireAsync(0, Ct), Second.AcquireAsync(0, Ct));
        var lease = both.SelectMany(l => l).ShouldHaveSingleItem();
        lease.DeviceId.ShouldBe(device);
        lease.Epoch.ShouldBePositive();
        (await Second.AcquireAsync(0, Ct)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Every_lease_has_a_higher_epoch()
    {
        await WantedDeviceAsync();
        var first = (await First.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        await First.ReleaseAsync(first, Ct);
        var second = (await Second.AcquireAsync(0, Ct)).ShouldHaveSingleItem("released: nobody waits for the lease's end");
        second.Epoch.ShouldBeGreaterThan(first.Epoch);
    }

    [Fact]
    public async Task A_board_that_is_removed_and_added_again_goes_on_with_higher_epochs()
    {
        var board = await WantedDeviceAsync();
        var first = (await First.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        await First.ReleaseAsync(first, Ct);
        await new DeviceStore(Store.Database, _first!).RetireAsync(board, Ct);
        var again = await WantedDeviceAsync();
        var second = (await First.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        second.DeviceId.ShouldBe(again);
        second.Epoch.ShouldBeGreaterThan(first.Epoch, "the board refuses what is not higher");
    }

    [Fact]
    public async Task An_expired_lease_goes_to_another_node_and_the_old_one_cannot_renew_or_release()
    {
        var device = await WantedDeviceAsync();
        var old = (await First.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        await Store.ExecuteAsync("update device set lease_until = clock_timestamp() - interval '1 second'");
        var taken = (await Second.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        taken.Epoch.ShouldBeGreaterThan(old.Epoch);
        (await First.RenewAsync([old], Ct)).ShouldBeEmpty();
        await First.ReleaseAsync(old, Ct);
        (await Store.ScalarAsync<Guid?>("select lease_node from device where id = @device", new { device })).ShouldBe(_second!.Id);
        (await Second.RenewAsync([taken], Ct)).ShouldHaveSingleItem().Until.ShouldBeGreaterThan(taken.Until.AddSeconds(-1));
    }

    [Fact]
    public async Task Devices_are_shared_fairly_between_live_nodes()
    {
        for (var i = 0; i < 10; i++)
            await WantedDeviceAsync($"board{i}");
        (await First.AcquireAsync(0, Ct)).Count.ShouldBe(5);
        (await First.AcquireAsync(5, Ct)).ShouldBeEmpty();
        (await Second.AcquireAsync(0, Ct)).Count.ShouldBe(5);
    }

    [Fact]
    public async Task A_node_that_is_alone_takes_everything()
    {
        await OnlyFirstIsAliveAsync();
        for (var i = 0; i < 4; i++)
            await WantedDeviceAsync($"board{i}");
        (await First.AcquireAsync(0, Ct)).Count.ShouldBe(4);
    }

    [Fact]
    public async Task Shares_are_exact_and_a_node_that_joins_gets_its_part()
    {
        await OnlyFirstIsAliveAsync();
        for (var i = 0; i < 5; i++)
            await WantedDeviceAsync($"board{i}");
        var all = await First.AcquireAsync(0, Ct);
        all.Count.ShouldBe(5);
        (await First.SurplusAsync(Ct)).ShouldBeEmpty("nobody else is there");

        await Store.ExecuteAsync("update node set stopped_at = null where id = @Id", new { _second!.Id });
        var surplus = await First.SurplusAsync(Ct);
        surplus.Count.ShouldBe(2, "3 and 2, whoever had more keeps one more");
        (await Second.AcquireAsync(0, Ct)).ShouldBeEmpty("nothing is free yet");
        foreach (var lease in all.Where(l => surplus.Contains(l.DeviceId)))
            await First.ReleaseAsync(lease, Ct);
        (await First.AcquireAsync(3, Ct)).ShouldBeEmpty("it does not take back what it gave up");
        (await Second.AcquireAsync(0, Ct)).Count.ShouldBe(2);

        var third = await Store.AddNodeAsync("third");
        (await First.SurplusAsync(Ct)).Count.ShouldBe(1, "2, 2 and 1");
        (await Second.SurplusAsync(Ct)).ShouldBeEmpty();
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() where id = @Id", new { third.Id });
        (await First.SurplusAsync(Ct)).ShouldBeEmpty("a node that is silent has no share");
    }

    [Fact]
    public async Task A_device_that_runs_something_is_given_up_last()
    {
        await OnlyFirstIsAliveAsync();
        var (idle, running) = (await WantedDeviceAsync("idle"), await WantedDeviceAsync("running"));
        (await First.AcquireAsync(0, Ct)).Count.ShouldBe(2);
        await Store.ExecuteAsync("update device set state = 'ready', check_done = check_requested, last_seen_at = clock_timestamp()");
        var (_, plan) = await TestJob.AddMatrixAsync(Store, running, TestJob.Speed);
        await Store.ExecuteAsync(
            """
            insert into attempt (id, job_id, device_id, number, node_id, epoch, state, plan, engine_sha256, transport)
            values (gen_random_uuid(), @job, @running, 1, @node, 1, 'running', '', repeat('a', 64), 'fake')
            """,
            new { running, job = plan.Jobs[0].Id, node = _first!.Id });
        await Store.ExecuteAsync("update node set stopped_at = null where id = @Id", new { _second!.Id });
        (await First.SurplusAsync(Ct)).ShouldHaveSingleItem().ShouldBe(idle);
    }

    [Fact]
    public async Task An_unreachable_device_waits_for_its_next_try()
    {
        await OnlyFirstIsAliveAsync();
        var device = await WantedDeviceAsync();
        await Store.ExecuteAsync("update device set retry_at = clock_timestamp() + interval '1 hour' where id = @device", new { device });
        (await First.AcquireAsync(0, Ct)).ShouldBeEmpty();
        await new DeviceStore(Store.Database, _first!).RequestCheckAsync(device, false, Ct);
        (await First.AcquireAsync(0, Ct)).ShouldHaveSingleItem("a person asked for a check");
    }

    [Fact]
    public async Task A_stale_drivers_writes_change_nothing()
    {
        var device = await WantedDeviceAsync();
        var old = (await First.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        await Store.ExecuteAsync("update device set lease_until = clock_timestamp() - interval '1 second'");
        (await Second.AcquireAsync(0, Ct)).ShouldHaveSingleItem();
        var before = await RowAsync(device);
        var stale = new DeviceStore(Store.Database, _first!);
        await Should.ThrowAsync<LeaseLostException>(() => stale.SetStateAsync(old, DeviceState.Ready, "stale", Ct));
        await Should.ThrowAsync<LeaseLostException>(() => stale.SeenAsync(old, Ct));
        await Should.ThrowAsync<LeaseLostException>(() => stale.FailedAsync(old, DeviceState.Bad, "stale", TimeSpan.Zero, 0, Ct));
        await Should.ThrowAsync<LeaseLostException>(() => stale.CheckedAsync(old, 9, null, DeviceState.Ready, null, Ct));
        await Should.ThrowAsync<LeaseLostException>(() => stale.SetReferenceAsync(old, 1, 1, Ct));
        await Should.ThrowAsync<LeaseLostException>(() => stale.ReadOwnedAsync(old, Ct));
        (await RowAsync(device)).ShouldBe(before);
    }

    private Task<string?> RowAsync(Guid device) => Store.ScalarAsync<string>("select device::text from device where id = @device", new { device });
}

public sealed class PostgresLeaseOwnershipTests : DeviceOwnershipContract
{
    internal override IDeviceOwnership Create(TestStore store, NodeIdentity node) => store.Leases(node);
}
