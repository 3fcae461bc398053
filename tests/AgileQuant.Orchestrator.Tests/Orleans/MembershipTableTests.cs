using System.Net;
using AgileQuant.Orchestrator.Orleans.Storage;
using AgileQuant.Orchestrator.Tests.Support;
using Microsoft.Extensions.Options;
using Orleans.Configuration;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>What Orleans requires of a membership table, against a real Postgres.</summary>
public sealed class MembershipTableTests : IAsyncLifetime
{
    private static int s_generation = 100;
    private TestStore? _store;

    private TestStore Store => _store!;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    private async Task<IMembershipTable> TableAsync(string cluster = "one")
    {
        var table = new MembershipTable(Store.Database, Options.Create(new ClusterOptions { ClusterId = cluster, ServiceId = "test" }));
        await table.InitializeMembershipTable(true);
        return table;
    }

    private static MembershipEntry Entry(SiloStatus status = SiloStatus.Joining, int daysAgo = 0)
    {
        var now = DateTime.UtcNow.Date.AddHours(1).AddDays(-daysAgo);
        return new MembershipEntry
        {
            SiloAddress = Address(),
            HostName = "host",
            SiloName = "silo",
            RoleName = "role",
            Status = status,
            ProxyPort = 7,
            UpdateZone = 1,
            FaultZone = 2,
            StartTime = now,
            IAmAliveTime = now.AddSeconds(1),
        };
    }

    private static SiloAddress Address() => SiloAddress.New(new IPEndPoint(IPAddress.Loopback, 12345), Interlocked.Increment(ref s_generation));

    private static async Task<MembershipTableData> InsertAsync(IMembershipTable table, params MembershipEntry[] entries)
    {
        foreach (var entry in entries)
            (await table.InsertRow(entry, (await table.ReadAll()).Version.Next())).ShouldBeTrue();
        return await table.ReadAll();
    }

    [Fact]
    public async Task A_new_table_is_empty_at_version_0()
    {
        var data = await (await TableAsync()).ReadAll();
        data.Members.ShouldBeEmpty();
        data.Version.Version.ShouldBe(0);
        data.Version.VersionEtag.ShouldNotBeNullOrEmpty();
    }

    [Fact]
    public async Task A_member_comes_back_as_it_was_and_raises_the_version()
    {
        var table = await TableAsync();
        var before = (await table.ReadAll()).Version;
        var entry = Entry();
        entry.AddSuspector(Address(), entry.StartTime.AddSeconds(5));
        (await table.InsertRow(entry, before.Next())).ShouldBeTrue();
        var data = await table.ReadRow(entry.SiloAddress);
        data.Version.Version.ShouldBe(1);
        data.Version.VersionEtag.ShouldNotBe(before.VersionEtag);
        var (read, etag) = data.Members.ShouldHaveSingleItem();
        etag.ShouldNotBeNullOrEmpty();
        read.ToFullString().ShouldBe(entry.ToFullString());
    }

    [Fact]
    public async Task An_insert_fails_without_effect_on_an_old_version_or_a_known_silo()
    {
        var table = await TableAsync();
        var old = (await table.ReadAll()).Version.Next();
        var entry = Entry();
        (await table.InsertRow(entry, old)).ShouldBeTrue();
        (await table.InsertRow(Entry(), old)).ShouldBeFalse("old version");
        (await table.InsertRow(entry, (await table.ReadAll()).Version.Next())).ShouldBeFalse("known silo");
        var data = await table.ReadAll();
        data.Version.Version.ShouldBe(1);
        data.Members.ShouldHaveSingleItem();
    }

    [Fact]
    public async Task An_update_needs_the_rows_etag_and_the_tables_version()
    {
        var table = await TableAsync();
        var entry = Entry();
        var data = await InsertAsync(table, entry);
        var etag = data.Members[0].Item2;
        entry.Status = SiloStatus.Active;
        (await table.UpdateRow(entry, etag, new TableVersion(data.Version.Version, "0"))).ShouldBeFalse("old version");
        (await table.UpdateRow(entry, "1" + etag, data.Version.Next())).ShouldBeFalse("other etag");
        (await table.UpdateRow(Entry(), etag, data.Version.Next())).ShouldBeFalse("unknown silo");
        (await table.ReadAll()).Version.Version.ShouldBe(1, "nothing of that raised it");
        (await table.UpdateRow(entry, etag, data.Version.Next())).ShouldBeTrue();
        (await table.UpdateRow(entry, etag, (await table.ReadAll()).Version.Next())).ShouldBeFalse("the etag has changed");
        var after = await table.ReadAll();
        after.Version.Version.ShouldBe(2);
        after.Members[0].Item1.Status.ShouldBe(SiloStatus.Active);
        after.Members[0].Item2.ShouldNotBe(etag);
    }

    [Fact]
    public async Task Of_writers_at_once_one_wins_each_version()
    {
        var table = await TableAsync();
        var entry = Entry();
        var first = (await table.ReadAll()).Version.Next();
        (await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => table.InsertRow(entry, first)))).Count(ok => ok).ShouldBe(1);
        await Task.WhenAll(Enumerable.Range(0, 19).Select(async _ =>
        {
            MembershipTableData data;
            do
                data = await table.ReadAll();
            while (!await table.UpdateRow(data.Members[0].Item1, data.Members[0].Item2, data.Version.Next()));
        })).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        var end = await table.ReadAll();
        end.Version.Version.ShouldBe(20);
        end.Members.ShouldHaveSingleItem();
    }

    [Fact]
    public async Task A_sign_of_life_changes_nothing_else()
    {
        var table = await TableAsync();
        var entry = Entry();
        var before = await InsertAsync(table, entry);
        var at = entry.IAmAliveTime.AddMinutes(5);
        await table.UpdateIAmAlive(new MembershipEntry { SiloAddress = entry.SiloAddress, IAmAliveTime = at });
        var after = await table.ReadAll();
        after.Version.ShouldBe(before.Version);
        after.Members[0].Item2.ShouldBe(before.Members[0].Item2);
        after.Members[0].Item1.IAmAliveTime.ShouldBe(at);
        after.Members[0].Item1.Status.ShouldBe(entry.Status);
    }

    [Fact]
    public async Task Clean_up_removes_what_is_old_and_not_active()
    {
        var table = await TableAsync();
        MembershipEntry[] old = [.. Enum.GetValues<SiloStatus>().Select(s => Entry(s, daysAgo: 10))];
        var young = Entry();
        await InsertAsync(table, [.. old, young]);
        await table.CleanupDefunctSiloEntries(DateTimeOffset.UtcNow.AddDays(-7));
        (await table.ReadAll()).Members.Select(m => m.Item1.SiloAddress).ShouldBe(
            [young.SiloAddress, old.Single(e => e.Status == SiloStatus.Active).SiloAddress], ignoreOrder: true);
    }

    [Fact]
    public async Task Clusters_in_one_database_do_not_see_each_other_and_are_deleted_apart()
    {
        var (one, two) = (await TableAsync(), await TableAsync("two"));
        await InsertAsync(one, Entry(), Entry());
        (await two.ReadAll()).Members.ShouldBeEmpty();
        await InsertAsync(two, Entry());
        await one.DeleteMembershipTableEntries("one");
        (await one.ReadAll()).Members.ShouldBeEmpty();
        (await one.ReadAll()).Version.Version.ShouldBe(2, "a version never falls");
        (await two.ReadAll()).Members.ShouldHaveSingleItem();
    }
}
