using AgileQuant.Orchestrator.Orleans.Storage;
using AgileQuant.Orchestrator.Tests.Support;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using Orleans.Storage;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>What Orleans requires of a reminder table and of grain storage, against a real Postgres.</summary>
public sealed class ReminderAndStateTests : IAsyncLifetime
{
    private static readonly IOptions<ClusterOptions> Cluster = Options.Create(new ClusterOptions { ClusterId = "one", ServiceId = "test" });
    private TestStore? _store;

    private TestStore Store => _store!;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    private ReminderTable Reminders => new(Store.Database, Cluster);

    private GrainStorage States => new(Store.Database, Cluster);

    private static GrainId Grain() => GrainId.Create("device", Guid.NewGuid().ToString("N") + "+foo/bar\\#baz?");

    private static ReminderEntry Reminder(GrainId grain, string name = "foo/bar\\#b_a_z?") =>
        new() { GrainId = grain, ReminderName = name, Period = TimeSpan.FromMinutes(1), StartAt = DateTime.UtcNow.Date };

    [Fact]
    public async Task A_reminder_comes_back_as_it_was_and_only_its_own_etag_removes_it()
    {
        var reminder = Reminder(Grain());
        var first = await Reminders.UpsertRow(reminder);
        var read = (await Reminders.ReadRow(reminder.GrainId, reminder.ReminderName)).ShouldNotBeNull();
        (read.GrainId, read.ReminderName, read.Period, read.StartAt, read.ETag).ShouldBe(
            (reminder.GrainId, reminder.ReminderName, reminder.Period, reminder.StartAt, first));
        reminder.StartAt = reminder.StartAt.AddHours(1);
        var second = (await Reminders.UpsertRow(reminder)).ShouldNotBeNull();
        second.ShouldNotBe(first);
        (await Reminders.RemoveRow(reminder.GrainId, reminder.ReminderName, first!)).ShouldBeFalse();
        (await Reminders.RemoveRow(reminder.GrainId, "another", second)).ShouldBeFalse();
        (await Reminders.ReadRows(reminder.GrainId)).Reminders.ShouldHaveSingleItem().StartAt.ShouldBe(reminder.StartAt);
        (await Reminders.RemoveRow(reminder.GrainId, reminder.ReminderName, second)).ShouldBeTrue();
        (await Reminders.RemoveRow(reminder.GrainId, reminder.ReminderName, second)).ShouldBeFalse();
        (await Reminders.ReadRow(reminder.GrainId, reminder.ReminderName)).ShouldBeNull();
    }

    [Fact]
    public async Task Writers_at_once_each_get_an_etag_of_their_own()
    {
        var grain = Grain();
        var etags = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Reminders.UpsertRow(Reminder(grain))));
        etags.Distinct().Count().ShouldBe(20);
        (await Reminders.ReadRows(grain)).Reminders.ShouldHaveSingleItem();
    }

    [Fact]
    public async Task A_range_of_the_ring_excludes_its_begin_and_may_go_around_its_end()
    {
        foreach (var i in Enumerable.Range(0, 50))
            await Reminders.UpsertRow(Reminder(Grain(), $"r{i}"));
        var all = (await Reminders.ReadRows(0, 0)).Reminders.Select(r => r.GrainId.GetUniformHashCode()).ToList();
        all.Count.ShouldBe(50);
        (await Reminders.ReadRows(0, uint.MaxValue)).Reminders.Count.ShouldBe(50);
        var random = new Random(7);
        for (var i = 0; i < 50; i++)
        {
            var (begin, end) = (all[random.Next(50)], i % 2 == 0 ? all[random.Next(50)] : (uint)random.NextInt64(uint.MaxValue));
            var expected = all.Where(h => begin < end ? h > begin && h <= end : h > begin || h <= end);
            (await Reminders.ReadRows(begin, end)).Reminders.Select(r => r.GrainId.GetUniformHashCode()).ShouldBe(expected, ignoreOrder: true);
        }
    }

    [Fact]
    public async Task State_is_written_read_and_cleared_under_its_etag()
    {
        var grain = Grain();
        var missing = new GrainState<Thing>();
        await States.ReadStateAsync("thing", grain, missing);
        (missing.RecordExists, missing.ETag, missing.State!.Count).ShouldBe((false, null, 0));

        var written = new GrainState<Thing> { State = new Thing { Name = "über", Count = 3 } };
        await States.WriteStateAsync("thing", grain, written);
        (await Store.ScalarAsync<string>("select value ->> 'name' from grain_state")).ShouldBe("über", "a person can read it");

        var read = new GrainState<Thing>();
        await States.ReadStateAsync("thing", grain, read);
        (read.RecordExists, read.ETag, read.State!.Name, read.State.Count).ShouldBe((true, written.ETag, "über", 3));

        read.State.Count = 4;
        await States.WriteStateAsync("thing", grain, read);
        await Should.ThrowAsync<InconsistentStateException>(() => States.WriteStateAsync("thing", grain, written));
        await Should.ThrowAsync<InconsistentStateException>(() => States.ClearStateAsync("thing", grain, written));
        await Should.ThrowAsync<InconsistentStateException>(() => States.WriteStateAsync("thing", grain, new GrainState<Thing> { State = new Thing() }));

        await States.ClearStateAsync("thing", grain, read);
        (read.RecordExists, read.ETag, read.State!.Count).ShouldBe((false, null, 0));
        await States.ClearStateAsync("thing", grain, read); // once more does no harm
        await States.WriteStateAsync("thing", grain, read);
    }

    [Fact]
    public async Task States_of_other_grains_and_other_names_are_apart()
    {
        var (one, two) = (Grain(), Grain());
        await States.WriteStateAsync("a", one, new GrainState<Thing> { State = new Thing { Count = 1 } });
        await States.WriteStateAsync("b", one, new GrainState<Thing> { State = new Thing { Count = 2 } });
        var read = new GrainState<Thing>();
        await States.ReadStateAsync("a", two, read);
        read.RecordExists.ShouldBeFalse();
        await States.ReadStateAsync("b", one, read);
        read.State!.Count.ShouldBe(2);
    }

    private sealed class Thing
    {
        public string Name { get; set; } = "";

        public int Count { get; set; }
    }
}
