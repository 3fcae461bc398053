using System.Diagnostics;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>Several real silos on one database.</summary>
public sealed class ClusterTests : IAsyncLifetime
{
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(3);
    private readonly List<TestSilo> _silos = [];
    private readonly List<TestOwner> _owners = [];
    private TestStore? _store;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public async ValueTask DisposeAsync()
    {
        foreach (var owner in _owners)
            await owner.DisposeAsync();
        foreach (var silo in _silos)
            await silo.DisposeAsync();
        await Store.DisposeAsync();
    }

    private async Task<(TestSilo Silo, TestOwner Owner)> AddAsync(string name)
    {
        var silo = await TestSilo.StartAsync(Store, await Store.AddNodeAsync(name), Lease);
        var owner = new TestOwner(silo, Lease);
        _silos.Add(silo);
        _owners.Add(owner);
        owner.Start();
        return (silo, owner);
    }

    private async Task AddDevicesAsync(int count)
    {
        for (var i = 0; i < count; i++)
            await Store.AddDeviceAsync($"board{i}", "offline");
    }

    private static Task<int> HoldsAsync(TestOwner owner, int count) =>
        TestNode.UntilAsync(() => Task.FromResult(owner.Held.Count), n => n == count, TimeSpan.FromSeconds(30));

    [Fact]
    public async Task Devices_spread_over_silos_and_come_back_when_one_leaves_or_dies()
    {
        await AddDevicesAsync(6);
        var (_, first) = await AddAsync("first");
        await HoldsAsync(first, 6);

        var (second, secondOwner) = await AddAsync("second");
        await HoldsAsync(secondOwner, 3);
        await HoldsAsync(first, 3);

        await secondOwner.StopAsync();
        await second.Silo.StopAsync(Ct);
        await HoldsAsync(first, 6);
        (await Store.ScalarAsync<string>("select status from silo where name = @name", new { name = second.Node.Id.ToString() })).ShouldBe("dead");

        var (third, thirdOwner) = await AddAsync("third");
        await HoldsAsync(thirdOwner, 3);
        var died = Stopwatch.StartNew();
        await thirdOwner.KillAsync();
        await third.Silo.CrashAsync();
        await HoldsAsync(first, 6);
        TestContext.Current.TestOutputHelper?.WriteLine($"taken over {died.Elapsed.TotalSeconds:0.0} s after the end of a silo, lease {Lease.TotalSeconds:0} s");
    }

    /// <summary>Two silos that do not know each other each have an activation of the same device's grain: the lease lets one write.</summary>
    [Fact]
    public async Task A_second_activation_gets_nothing_while_the_lease_lives_and_afterwards_the_firsts_writes_are_refused()
    {
        var device = await Store.AddDeviceAsync("board", "offline");
        var one = await Store.AddNodeAsync("one");
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() + interval '1 hour' where id = @Id", new { one.Id });
        var first = await TestSilo.StartAsync(Store, one, Lease);
        _silos.Add(first);
        var old = (await AcquireAsync(first)).ShouldHaveSingleItem();

        // As after a split: the second silo finds an empty table, so that both run an activation of their own.
        await Store.ExecuteAsync("delete from silo");
        var second = await TestSilo.StartAsync(Store, await Store.AddNodeAsync("two"), Lease);
        _silos.Add(second);
        (await second.Grains.GetGrain<IDeviceGrain>(device).EnsureDrivenAsync()).ShouldBe(DriveAnswer.NotHere);
        (await first.Ownership.RenewAsync([old], Ct)).ShouldHaveSingleItem("it is still the first one's");

        // The first node stands still for longer than its lease.
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() - interval '1 second' where id = @Id", new { one.Id });
        await Store.ExecuteAsync("update device set lease_until = clock_timestamp() - interval '1 second'");
        var taken = (await AcquireAsync(second)).ShouldHaveSingleItem();
        taken.Epoch.ShouldBeGreaterThan(old.Epoch);

        var stale = new DeviceStore(Store.Database, one);
        await Should.ThrowAsync<LeaseLostException>(() => stale.SetStateAsync(old, DeviceState.Ready, "stale", Ct));
        await Should.ThrowAsync<LeaseLostException>(() => stale.ReadOwnedAsync(old, Ct));
        (await first.Ownership.RenewAsync([old], Ct)).ShouldBeEmpty();
        first.Leases.Find(device).ShouldBeNull("the first grain's activation ends with its lease");
        (await second.Ownership.RenewAsync([taken], Ct)).ShouldHaveSingleItem();
    }

    [Fact]
    public async Task A_grain_says_who_drives_its_device_and_keeps_that_readable_in_the_database()
    {
        var device = await Store.AddDeviceAsync("board", "offline");
        var (silo, owner) = await AddAsync("only");
        await HoldsAsync(owner, 1);
        var state = await silo.Grains.GetGrain<IDeviceGrain>(device).GetStateAsync();
        state.Node.ShouldBe("only");
        state.NodeId.ShouldBe(silo.Node.Id);
        state.Epoch.ShouldBe(owner.Held[device].Epoch);
        state.Doing.ShouldStartWith("offline");
        (await Store.ScalarAsync<string>("select value ->> 'node' from grain_state")).ShouldBe("only");
        (await Store.ScalarAsync<string>("select name from reminder")).ShouldNotBeNull();
    }

    [Fact]
    public async Task A_silo_that_others_declared_dead_is_made_anew_and_the_node_goes_on()
    {
        await AddDevicesAsync(2);
        var (silo, owner) = await AddAsync("only");
        await HoldsAsync(owner, 2);
        var address = silo.Silo.Address;
        await Store.ExecuteAsync("update silo set status = 'dead', revision = nextval('orleans_revision'); update silo_version set version = version + 1");
        await TestNode.UntilAsync(() => Task.FromResult(silo.Silo.Restarts), n => n > 0, TimeSpan.FromSeconds(30));
        silo.Silo.Address.ShouldNotBe(address);
        await Store.AddDeviceAsync("one-more", "offline");
        await HoldsAsync(owner, 3);
    }

    /// <summary>Nobody scans here: the minute's reminder alone brings the device back to a driver.</summary>
    [Fact]
    [Trait("Category", "Long")]
    public async Task A_reminder_finds_a_driver_when_nobody_looks()
    {
        var device = await Store.AddDeviceAsync("board", "offline");
        var node = await Store.AddNodeAsync("only");
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() + interval '1 hour'");
        await using var silo = await TestSilo.StartAsync(Store, node, Lease);
        var first = (await AcquireAsync(silo)).ShouldHaveSingleItem();
        await TestNode.UntilAsync(() => Store.ScalarAsync<string>("select name from reminder"), name => name is not null, TimeSpan.FromSeconds(20));
        await silo.Ownership.ReleaseAsync(first, Ct);
        silo.Leases.Find(device).ShouldBeNull();
        var again = await TestNode.UntilAsync(() => Task.FromResult(silo.Leases.Find(device)), l => l is not null, TimeSpan.FromSeconds(150));
        again!.Epoch.ShouldBeGreaterThan(first.Epoch);
    }

    private static async Task<IReadOnlyList<DeviceLease>> AcquireAsync(TestSilo silo) =>
        await TestNode.UntilAsync(() => silo.Ownership.AcquireAsync(0, Ct), l => l.Count > 0, TimeSpan.FromSeconds(20));
}
