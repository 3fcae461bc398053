using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>What grains do beside ownership: progress of matrices, and placement of the nodes' own work.</summary>
public sealed class ClusterWorkTests : IAsyncLifetime
{
    private TestStore? _store;
    private TestSilo? _one, _two;

    private TestStore Store => _store!;

    private TestSilo One => _one!;

    private TestSilo Two => _two!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _store = await TestStore.CreateAsync();
        _one = await TestSilo.StartAsync(Store, await Store.AddNodeAsync("one"));
        _two = await TestSilo.StartAsync(Store, await Store.AddNodeAsync("two"));
        // Nobody beats for them here, and they count as two machines.
        await Store.ExecuteAsync("update node set alive_until = clock_timestamp() + interval '1 hour', boot_id = name");
    }

    public async ValueTask DisposeAsync()
    {
        await Two.DisposeAsync();
        await One.DisposeAsync();
        await Store.DisposeAsync();
    }

    private static int Found(TestSilo silo) => ((CountingMatrices)silo.Get<IMatrixService>()).Found;

    private async Task<Guid> AddMatrixAsync() => (await TestJob.AddMatrixAsync(Store, await Store.AddDeviceAsync(), TestJob.Speed)).Id;

    [Fact]
    public async Task Readers_on_both_nodes_share_one_computation()
    {
        var matrix = await AddMatrixAsync();
        MatrixReader[] readers = [.. new[] { One, One, Two, Two }.Select(s => new MatrixReader(s.Get<IMatrixProgress>(), matrix))];
        foreach (var reader in readers)
            (await reader.UntilAsync(v => v.Summary.State == MatrixState.Running))!.Summary.Name.ShouldBe("matrix");
        await Store.ExecuteAsync("update matrix set cancel_requested_at = clock_timestamp() where id = @matrix", new { matrix });
        foreach (var reader in readers)
            await reader.UntilAsync(v => v.Summary.State is MatrixState.Cancelling or MatrixState.Cancelled);
        new[] { Found(One), Found(Two) }.ShouldContain(0, "one grain, on one of the nodes, works it out for both");
        foreach (var reader in readers)
            await reader.DisposeAsync();
    }

    [Fact]
    public async Task A_reader_goes_on_when_the_silo_with_the_grain_leaves()
    {
        var matrix = await AddMatrixAsync();
        await using (var first = new MatrixReader(One.Get<IMatrixProgress>(), matrix))
        await using (var second = new MatrixReader(Two.Get<IMatrixProgress>(), matrix))
        {
            await first.UntilAsync(_ => true);
            await second.UntilAsync(_ => true);
            var (gone, reader) = Found(One) > 0 ? (One, second) : (Two, first);
            await gone.Silo.StopAsync(Ct);
            await Store.ExecuteAsync("update matrix set cancel_requested_at = clock_timestamp() where id = @matrix", new { matrix });
            await reader.UntilAsync(v => v.Summary.State is MatrixState.Cancelling or MatrixState.Cancelled);
        }
    }

    [Fact]
    public async Task Work_goes_to_the_node_with_the_least_of_it_and_never_to_a_host_in_exclusive_use()
    {
        await AddMatrixAsync(); // two packs
        var (one, two) = (One.Get<INodeJobSource>(), Two.Get<INodeJobSource>());
        var mine = (await one.NextAsync(Ct)).ShouldNotBeNull("whoever asks first, when nobody does anything");
        await Task.Delay(TimeSpan.FromMilliseconds(400), Ct); // until the nodes' work is read anew
        (await one.NextAsync(Ct)).ShouldBeNull("the other node does less");
        var other = (await two.NextAsync(Ct)).ShouldNotBeNull();
        other.Id.ShouldNotBe(mine.Id);
        (await Store.ScalarAsync<Guid>("select lease_node from node_job where id = @Id", new { other.Id })).ShouldBe(Two.Node.Id);

        await Two.Get<NodeJobStore>().GiveBackAsync(other, Ct);
        await Store.ExecuteAsync("select take_host('two', gen_random_uuid(), true, 'a timing job', interval '1 hour')");
        await Task.Delay(TimeSpan.FromMilliseconds(400), Ct);
        (await one.NextAsync(Ct)).ShouldNotBeNull().Id.ShouldBe(other.Id);
    }
}
