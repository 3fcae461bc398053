using AgileQuant.Cluster.Tests.Support;
using Shouldly;
using Xunit;

namespace AgileQuant.Cluster.Tests;

/// <summary>
/// What happens to nodes in the middle of a matrix on four boards, with real processes, a real database and real sshds. Whatever
/// happens, each run ends with exactly one accepted result of each kind, and no board ever runs two engines at once.
/// </summary>
public sealed class NodeFailureTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Twice = Farm.Lease * 2;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public static TheoryData<Flavour> Flavours => Flavour.BuiltIn;

    [Theory]
    [MemberData(nameof(Flavours))]
    public async Task A_node_is_killed(Flavour flavour)
    {
        await using var farm = await StartSharedAsync(flavour);
        var matrix = await RunningMatrixAsync(farm);
        await farm.Node("a").KillAsync(Ct);
        Say(flavour, "kill -9", await farm.UntilAllBoardsHaveDriversAsync("a", Twice));
        await farm.CompleteAsync(matrix);
    }

    [Theory]
    [MemberData(nameof(Flavours))]
    [Trait("Category", "Long")]
    public async Task A_node_is_paused_past_its_lease_and_goes_on(Flavour flavour)
    {
        await using var farm = await StartSharedAsync(flavour);
        var matrix = await RunningMatrixAsync(farm);
        await farm.Node("a").PauseAsync(Ct);
        Say(flavour, "pause", await farm.UntilAllBoardsHaveDriversAsync("a", Twice));
        var reached = await farm.ScalarAsync<long>("select max(epoch) from device");
        await farm.Node("a").ContinueAsync(Ct);
        await Task.Delay(TimeSpan.FromSeconds(1), Ct);
        (await farm.QueryAsync<string>(
            "select d.name from device d join node n on n.id = d.lease_node where n.name = 'a' and d.epoch <= @reached", new { reached }))
            .ShouldBeEmpty("who comes back too late drives nothing under a lease from before; it may be given new ones");
        await farm.CompleteAsync(matrix);
    }

    [Theory]
    [MemberData(nameof(Flavours))]
    [Trait("Category", "Long")]
    public async Task A_node_is_paused_in_the_middle_of_a_copy(Flavour flavour)
    {
        await using var farm = await StartSharedAsync(flavour);
        var copying = farm.Relay("a").WatchAsync("copy staged_sample");
        var matrix = await RunningMatrixAsync(farm);
        await copying.WaitAsync(TimeSpan.FromMinutes(2), Ct);
        await farm.Node("a").PauseAsync(Ct);
        farm.Relay("a").Mend();
        (await farm.ScalarAsync<long>(
            "select count(*) from pg_stat_activity where application_name = 'agilequant a' and state = 'active' and query like 'copy staged_sample%'"))
            .ShouldBeGreaterThan(0, "the pause must be in the middle of a COPY");
        Say(flavour, "pause in COPY", await farm.UntilAllBoardsHaveDriversAsync("a", Twice));
        // It comes back only when the other one has finished everything: nobody waited for it.
        await farm.CompleteAsync(matrix);
        var before = await farm.ScalarAsync<string>(Everything);
        await farm.Node("a").ContinueAsync(Ct);
        await farm.UntilAsync(
            () => farm.ScalarAsync<long>("select count(*) from live_node"), n => n == 2, TimeSpan.FromSeconds(30), "live nodes");
        await Task.Delay(TimeSpan.FromSeconds(2), Ct);
        (await farm.ScalarAsync<string>(Everything)).ShouldBe(before, "its late rows must change nothing");
        (await farm.ScalarAsync<long>("select count(*) from staged_sample")).ShouldBe(0, "and are swept away");
    }

    [Theory]
    [MemberData(nameof(Flavours))]
    [Trait("Category", "Long")]
    public async Task A_node_is_cut_off_from_the_database_and_comes_back(Flavour flavour)
    {
        await using var farm = await StartSharedAsync(flavour);
        var matrix = await RunningMatrixAsync(farm);
        farm.Relay("a").Cut();
        Say(flavour, "cut from Postgres", await farm.UntilAllBoardsHaveDriversAsync("a", Twice));
        farm.Relay("a").Mend();
        await farm.CompleteAsync(matrix);
    }

    [Theory]
    [MemberData(nameof(Flavours))]
    [Trait("Category", "Long")]
    public async Task The_database_is_out_of_reach_for_all_nodes(Flavour flavour)
    {
        await using var farm = await StartSharedAsync(flavour);
        var matrix = await RunningMatrixAsync(farm);
        farm.Relay("a").Cut();
        farm.Relay("b").Cut();
        await Task.Delay(Farm.Lease + Farm.Lease / 2, Ct);
        (await farm.SharesAsync()).ShouldBe("", "no lease outlives its time");
        farm.Relay("a").Mend();
        farm.Relay("b").Mend();
        Say(flavour, "Postgres out of reach for all", await farm.UntilAllBoardsHaveDriversAsync("", Twice));
        await farm.CompleteAsync(matrix);
    }

    [Theory]
    [MemberData(nameof(Flavours))]
    [Trait("Category", "Long")]
    public async Task A_node_joins_and_another_leaves(Flavour flavour)
    {
        await using var farm = await Farm.StartAsync(flavour);
        var matrix = await farm.StartMatrixAsync(farm.Node("a"), "join", rounds: 24);
        await farm.UntilAllBoardsRunAsync(matrix);
        (await farm.SharesAsync()).ShouldBe("a:4");
        await farm.AddNodeAsync("b");
        await farm.UntilSharedAsync("a:2 b:2", Twice);
        await farm.AddNodeAsync("c");
        await farm.UntilAsync(farm.SharesAsync, s => s is "a:1 b:1 c:2" or "a:1 b:2 c:1" or "a:2 b:1 c:1", Twice, "devices by node");
        await farm.Node("a").StopAsync(Ct);
        Say(flavour, "graceful stop", await farm.UntilAllBoardsHaveDriversAsync("a", Twice));
        farm.Node("a").ExitCode.ShouldBe(0, "it ends in order");
        await farm.CompleteAsync(matrix);
    }

    private const string Everything = """
        select md5(coalesce((select string_agg(r::text, '' order by r.run_id, r.kind) from result r), '')
            || coalesce((select string_agg(s::text, '' order by s.attempt_id, s.block, s.warmup, s.index) from sample s), '')
            || coalesce((select string_agg(a.id::text || a.state, '' order by a.id) from attempt a), ''))
        """;

    private void Say(Flavour flavour, string what, TimeSpan took) =>
        output.WriteLine($"{flavour}: {what}: every board had a driver again after {took.TotalSeconds:0.0} s (lease {Farm.Lease.TotalSeconds:0} s)");

    /// <summary>Two nodes.</summary>
    private static async Task<Farm> StartSharedAsync(Flavour flavour)
    {
        var farm = await Farm.StartAsync(flavour);
        await farm.AddNodeAsync("b");
        return farm;
    }

    /// <summary>A matrix whose engines run, with two boards a node.</summary>
    private static async Task<Guid> RunningMatrixAsync(Farm farm)
    {
        var matrix = await farm.StartMatrixAsync(farm.Node("b"), "matrix");
        await farm.UntilAllBoardsRunAsync(matrix);
        await farm.UntilSharedAsync("a:2 b:2", Twice);
        return matrix;
    }
}
