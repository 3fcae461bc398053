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

    internal abstract Task<IDeviceOwnership> CreateAsync(TestStore store, NodeIdentity node);

    /// <summary>Ends what <see cref="CreateAsync"/> started, before the database goes.</summary>
    internal virtual ValueTask StopAsync() => ValueTask.CompletedTask;

    public async ValueTask InitializeAsync()
    {
        _store = await TestStore.CreateAsync();
        _first = await Store.AddNodeAsync("first");
        _second = await Store.AddNodeAsync("second");
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() + interval '1 hour'"); // nobody beats for them here
        First = await CreateAsync(Store, _first);
        Second = await CreateAsync(Store, _second);
        ContractReport.Ran(First.Name);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await Store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    private IDeviceOwnership First { get; set; } = null!;

    private IDeviceOwnership Second { get; set; } = null!;

    /// <summary>Asks as a node does, again and again, until it has so many new leases: an implementation may need more than one turn.</summary>
    private static Task<List<DeviceLease>> TakeAsync(IDeviceOwnership owner, int count) => TakeAsync([owner], count);

    private static async Task<List<DeviceLease>> TakeAsync(IDeviceOwnership[] owners, int count)
    {
        var taken = new List<DeviceLease>();
        return await TestNode.UntilAsync(
            async () =>
            {
                foreach (var leases in await Task.WhenAll(owners.Select(o => o.AcquireAsync(taken.Count, Ct))))
                    taken.AddRange(leases);
                return taken;
            },
            t => t.Count >= count, TimeSpan.FromSeconds(20), t => $"{t.Count} of {count} leases");
    }

    private static async Task<DeviceLease> TakeOneAsync(IDeviceOwnership owner) => (await TakeAsync(owner, 1)).ShouldHaveSingleItem();

    private Task<Guid> WantedDeviceAsync(string name = "board") => Store.AddDeviceAsync(name, "offline");

    /// <summary>A single live node, so that the fair share is everything.</summary>
    private Task OnlyFirstIsAliveAsync() => OnlyAliveAsync(_first!);

    private Task OnlyAliveAsync(NodeIdentity node) =>
        Store.ExecuteAsync("update node set stopped_at = case when id = @Id then null else clock_timestamp() end", new { node.Id });

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
        var lease = (await TakeAsync([First, Second], 1)).ShouldHaveSingleItem();
        lease.DeviceId.ShouldBe(device);
        lease.Epoch.ShouldBePositive();
        (await First.AcquireAsync(0, Ct)).ShouldBeEmpty();
        (await Second.AcquireAsync(0, Ct)).ShouldBeEmpty();
    }

    [Fact]
    public async Task Every_lease_has_a_higher_epoch()
    {
        await OnlyFirstIsAliveAsync();
        await WantedDeviceAsync();
        var first = await TakeOneAsync(First);
        await First.ReleaseAsync(first, Ct);
        await OnlyAliveAsync(_second!);
        var second = await TakeOneAsync(Second); // released: nobody waits for the lease's end
        second.Epoch.ShouldBeGreaterThan(first.Epoch);
    }

    [Fact]
    public async Task A_board_that_is_removed_and_added_again_goes_on_with_higher_epochs()
    {
        await OnlyFirstIsAliveAsync();
        var board = await WantedDeviceAsync();
        var first = await TakeOneAsync(First);
        await First.ReleaseAsync(first, Ct);
        await new DeviceStore(Store.Database, _first!).RetireAsync(board, Ct);
        var again = await WantedDeviceAsync();
        var second = await TakeOneAsync(First);
        second.DeviceId.ShouldBe(again);
        second.Epoch.ShouldBeGreaterThan(first.Epoch, "the board refuses what is not higher");
    }

    [Fact]
    public async Task An_expired_lease_goes_to_another_node_and_the_old_one_cannot_renew_or_release()
    {
        await OnlyFirstIsAliveAsync();
        var device = await WantedDeviceAsync();
        var old = await TakeOneAsync(First);
        await OnlyAliveAsync(_second!);
        await Store.ExecuteAsync("update device set lease_until = clock_timestamp() - interval '1 second'");
        var taken = await TakeOneAsync(Second);
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
        (await TakeAsync(First, 5)).Count.ShouldBe(5);
        (await First.AcquireAsync(5, Ct)).ShouldBeEmpty();
        (await TakeAsync(Second, 5)).Count.ShouldBe(5);
    }

    [Fact]
    public async Task A_node_that_is_alone_takes_everything()
    {
        await OnlyFirstIsAliveAsync();
        for (var i = 0; i < 4; i++)
            await WantedDeviceAsync($"board{i}");
        (await TakeAsync(First, 4)).Count.ShouldBe(4);
    }

    [Fact]
    public async Task Shares_are_exact_and_a_node_that_joins_gets_its_part()
    {
        await OnlyFirstIsAliveAsync();
        for (var i = 0; i < 5; i++)
            await WantedDeviceAsync($"board{i}");
        var all = await TakeAsync(First, 5);
        all.Count.ShouldBe(5);
        (await First.SurplusAsync(Ct)).ShouldBeEmpty("nobody else is there");

        await Store.ExecuteAsync("update node set stopped_at = null where id = @Id", new { _second!.Id });
        var surplus = await First.SurplusAsync(Ct);
        surplus.Count.ShouldBe(2, "3 and 2, whoever had more keeps one more");
        (await Second.AcquireAsync(0, Ct)).ShouldBeEmpty("nothing is free yet");
        foreach (var lease in all.Where(l => surplus.Contains(l.DeviceId)))
            await First.ReleaseAsync(lease, Ct);
        (await First.AcquireAsync(3, Ct)).ShouldBeEmpty("it does not take back what it gave up");
        (await TakeAsync(Second, 2)).Count.ShouldBe(2);

        var third = await Store.AddNodeAsync("third");
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() + interval '1 hour' where id = @Id", new { third.Id }); // nobody beats for it either
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
        (await TakeAsync(First, 2)).Count.ShouldBe(2);
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
        await TakeOneAsync(First); // a person asked for a check
    }

    [Fact]
    public async Task A_stale_drivers_writes_change_nothing()
    {
        await OnlyFirstIsAliveAsync();
        var device = await WantedDeviceAsync();
        var old = await TakeOneAsync(First);
        await OnlyAliveAsync(_second!);
        await Store.ExecuteAsync("update device set lease_until = clock_timestamp() - interval '1 second'");
        await TakeOneAsync(Second);
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
    internal override Task<IDeviceOwnership> CreateAsync(TestStore store, NodeIdentity node) => Task.FromResult<IDeviceOwnership>(store.Leases(node));
}
