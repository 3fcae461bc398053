using AgileQuant.Agent;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AgileQuant.Orchestrator.Tests.Driving;

/// <summary>What a driver makes of boards that cannot be driven, through the whole node but for the transport.</summary>
public sealed class UnfitBoardTests : IAsyncLifetime
{
    private static readonly AddDeviceRequest Board = new("board", "me@board.invalid", "SHA256:" + new string('A', 43));
    private readonly FakeBoards _boards = new();
    private TestStore? _store;
    private TestNode? _node;

    private TestStore Store => _store!;

    private TestNode Node => _node!;

    private IDeviceService Devices => Node.Get<IDeviceService>();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _store = await TestStore.CreateAsync();
        var options = Store.Options with { RetryFirst = TimeSpan.FromMilliseconds(100), RetryMax = TimeSpan.FromMinutes(10), PollInterval = TimeSpan.FromMilliseconds(200), Lease = TimeSpan.FromSeconds(3) };
        _node = await TestNode.StartAsync(options, s => s.AddSingleton<IRemoteShellFactory>(_boards));
    }

    public async ValueTask DisposeAsync()
    {
        await Node.DisposeAsync();
        await Store.DisposeAsync();
    }

    private async Task<DeviceView> AddAsync(DeviceState expected)
    {
        await Devices.AddAsync(Board, Ct);
        return (await TestNode.UntilAsync(() => Devices.FindAsync("board", Ct), d => d!.State == expected, TimeSpan.FromSeconds(30), d => $"{d!.State} {d.StateReason}"))!;
    }

    [Fact]
    public async Task An_unreachable_board_is_offline_with_the_reason_and_tried_again_ever_more_rarely()
    {
        var device = await AddAsync(DeviceState.Offline);
        device.StateReason.ShouldNotBeNull().ShouldContain("cannot be reached");
        await TestNode.UntilAsync(() => Store.ScalarAsync<int>("select failures from device"), f => f >= 3, TimeSpan.FromSeconds(30));
        var wait = await Store.ScalarAsync<double>("select extract(epoch from retry_at - clock_timestamp())::float8 from device");
        wait.ShouldBeInRange(-1, 600);
        _boards.Connections.ShouldBeGreaterThanOrEqualTo(3);
    }

    [Fact]
    public async Task A_changed_host_key_quarantines_the_board_and_nothing_tries_it_again()
    {
        _boards.Connect = s => throw new HostKeyChangedException(s.Address, s.HostKeyFingerprint, "SHA256:other");
        var device = await AddAsync(DeviceState.Bad);
        device.StateReason.ShouldNotBeNull().ShouldContain("SHA256:other");
        var connections = _boards.Connections;
        await TestNode.UntilAsync(() => Store.ScalarAsync<Guid?>("select lease_node from device"), owner => owner is null, TimeSpan.FromSeconds(15));
        _boards.Connections.ShouldBe(connections);
    }

    [Fact]
    public async Task A_changed_host_key_ends_the_running_attempt_and_the_board_can_be_removed()
    {
        await AddAsync(DeviceState.Offline);
        var plan = await AddRunningAttemptAsync();
        _boards.Connect = s => throw new HostKeyChangedException(s.Address, s.HostKeyFingerprint, "SHA256:other");
        await TestNode.UntilAsync(() => Store.ScalarAsync<string>("select state from attempt"), s => s == "lost", TimeSpan.FromSeconds(30));
        await TestNode.UntilAsync(() => Store.ScalarAsync<string>("select state from job where id = @Id", new { plan.Jobs[0].Id }), s => s == "failed", TimeSpan.FromSeconds(30));
        (await Store.ScalarAsync<string>("select distinct state from run")).ShouldBe("incomplete");
        (await Store.ScalarAsync<string>("select max(reason) from run")).ShouldNotBeNull().ShouldContain("SHA256:other");
        (await Store.ScalarAsync<bool>("select retry_at > clock_timestamp() from device")).ShouldBeTrue("a spin would begin at once");
        await Devices.RemoveAsync("board", true, Ct);
        await TestNode.UntilAsync(() => Store.ScalarAsync<string>("select state from device"), s => s == "retired", TimeSpan.FromSeconds(30));
    }

    [Fact]
    public async Task Jobs_of_a_bad_board_end_with_its_reason_and_those_of_an_offline_one_wait_for_a_bound()
    {
        await AddAsync(DeviceState.Offline);
        var device = (await Devices.FindAsync("board", Ct))!.Id;
        await TestJob.AddMatrixAsync(Store, device, TestJob.Speed);
        var bounded = new StrandedJobs(Store.Database, Store.Options with { OfflineJobWait = TimeSpan.Zero });
        await Store.ExecuteAsync("update device set check_done = check_requested");
        (await new StrandedJobs(Store.Database, Store.Options).EndAsync(Ct)).ShouldBe(0, "a day has not passed");
        await TestNode.UntilAsync(() => bounded.EndAsync(Ct), n => n == 1, TimeSpan.FromSeconds(30));
        (await Store.ScalarAsync<string>("select distinct reason from run")).ShouldNotBeNull().ShouldContain("cannot be reached");

        // First what the board answers, then the check that asks it: the driver may come at any moment.
        _boards.Connect = s => throw new HostKeyChangedException(s.Address, s.HostKeyFingerprint, "SHA256:other");
        await TestJob.AddMatrixAsync(Store, device, TestJob.Quality);
        await Devices.CheckAsync("board", Ct);
        await TestNode.UntilAsync(() => Store.ScalarAsync<int>("select count(*)::int from matrix where finished_at is null"), n => n == 0, TimeSpan.FromSeconds(30));
        (await Store.ScalarAsync<int>("select count(*)::int from run where reason like 'the device is bad: %'")).ShouldBeGreaterThan(0);
    }

    private async Task<AgileQuant.Orchestrator.Domain.MatrixPlan> AddRunningAttemptAsync()
    {
        var device = (await Devices.FindAsync("board", Ct))!.Id;
        var (_, plan) = await TestJob.AddMatrixAsync(Store, device, TestJob.Speed);
        await Store.ExecuteAsync(
            """
            insert into attempt (id, job_id, device_id, number, node_id, epoch, state, plan, engine_sha256, transport)
            select gen_random_uuid(), @job, @device, 1, (select id from node limit 1), 1, 'running', '', repeat('a', 64), 'fake';
            update job set state = 'running', attempts = 1 where id = @job;
            """,
            new { device, job = plan.Jobs[0].Id });
        return plan;
    }

    [Fact]
    public async Task A_refused_login_says_what_to_do()
    {
        _boards.Connect = s => throw new AuthenticationFailedException(s.Address, "publickey");
        (await AddAsync(DeviceState.Offline)).StateReason.ShouldNotBeNull().ShouldContain("ssh-copy-id");
    }

    [Fact]
    public async Task A_defect_of_ours_shows_on_the_device_and_is_not_retried_in_a_tight_loop()
    {
        _boards.Connect = _ => throw new InvalidOperationException("a bug");
        await Devices.AddAsync(Board, Ct);
        var device = await TestNode.UntilAsync(() => Devices.FindAsync("board", Ct), d => d!.StateReason is not null, TimeSpan.FromSeconds(30));
        device!.StateReason.ShouldNotBeNull().ShouldContain("internal error, tried again soon: a bug");
    }

    [Fact]
    public async Task A_board_that_is_away_can_be_removed_and_its_attempt_ends()
    {
        await AddAsync(DeviceState.Offline);
        await AddRunningAttemptAsync();
        (await Should.ThrowAsync<UserErrorException>(() => Devices.RemoveAsync("board", false, Ct))).Message.ShouldContain("--force");
        await Devices.RemoveAsync("board", true, Ct);
        await TestNode.UntilAsync(() => Store.ScalarAsync<string>("select state from device"), s => s == "retired", TimeSpan.FromSeconds(30));
        (await Store.ScalarAsync<string>("select state from attempt")).ShouldBe("stopped");
        (await Store.ScalarAsync<string>("select distinct state from run")).ShouldBe("cancelled");
        (await Devices.ListAsync(Ct)).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("Pi4", "me@host", "no device name")]
    [InlineData("pi4", "host", "user@host")]
    public async Task A_request_that_cannot_be_meant_is_refused_in_words(string name, string address, string words) =>
        (await Should.ThrowAsync<UserErrorException>(() => Devices.AddAsync(Board with { Name = name, Address = address }, Ct))).Message.ShouldContain(words);

    [Fact]
    public async Task Names_are_unique_and_changes_are_announced()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        stop.CancelAfter(TimeSpan.FromSeconds(20));
        var announced = Task.Run(async () =>
        {
            await foreach (var change in Node.Get<IChangeFeed>().SubscribeAsync(stop.Token))
            {
                if (change.Topic == "device" && change.Id != Guid.Empty)
                    return change.Id;
            }

            return Guid.Empty;
        }, Ct);
        var added = await Devices.AddAsync(Board, Ct);
        (await Should.ThrowAsync<UserErrorException>(() => Devices.AddAsync(Board, Ct))).Message.ShouldContain("already");
        (await announced).ShouldBe(added.Id);
        var status = await Node.Get<IStatusService>().GetAsync(Ct);
        status.Transport.ShouldBe("fake");
        status.Nodes.ShouldHaveSingleItem().Alive.ShouldBeTrue();
    }
}
