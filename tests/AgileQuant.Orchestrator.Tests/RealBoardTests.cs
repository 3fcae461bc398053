using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests;

/// <summary>The whole path on a real sshd with the real engine, real Postgres, a trained model and a random one.</summary>
public sealed class RealBoardTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_matrix_runs_from_import_to_results_on_a_board_over_ssh()
    {
        await using var board = await TestBoard.StartAsync();
        await using var node = await TestNode.StartAsync(board.Store.Options);
        await AddEverythingAsync(node, board);
        var matrix = await WaitAsync(node, await node.Get<IMatrixService>().StartAsync(Spec, "tester", Ct));

        matrix.Summary.State.ShouldBe(MatrixState.Complete, string.Join("\n", matrix.Runs.Select(r => $"{r.Model} {r.Precision} {r.State} {r.Reason}")));
        CheckPerplexity(matrix);
        CheckSpeed(matrix);
        await CheckDetailAsync(node, matrix);
        (await board.Store.ScalarAsync<long>("select count(*) from result")).ShouldBe(matrix.Runs.Count(r => r.Speed is not null) + matrix.Runs.Count(r => r.Perplexity is not null));
        (await board.Store.ScalarAsync<long>("select count(*) from staged_sample")).ShouldBe(0);
        await TestNode.UntilAsync(
            () => Task.FromResult(Directory.GetDirectories(Path.Combine(board.Root, "jobs"))), folders => folders.Length == 0,
            TimeSpan.FromSeconds(20), _ => "there: job folders are removed after acceptance");
    }

    [Fact]
    public async Task A_board_without_the_bf16_instruction_skips_it_and_the_matrix_is_complete()
    {
        await using var board = await TestBoard.StartAsync();
        await using var node = await TestNode.StartAsync(board.Store.Options);
        await AddEverythingAsync(node, board);
        // Whatever this machine has, the board's self-test found no bf16 kernel.
        await board.Store.ExecuteAsync("""update device set selftest = jsonb_set(selftest, '{precisions}', '["fp16", "w8a8", "w4a8", "w4a4"]')""");
        var spec = Spec with { Precisions = ["fp16", "bf16"], Policy = Spec.Policy with { Rounds = 1 } };
        (await node.Get<IMatrixService>().PlanAsync(spec, Ct)).Warnings.ShouldContain(w => w.Contains("bf16 is skipped: this CPU has no bf16 instruction"));
        var matrix = await WaitAsync(node, await node.Get<IMatrixService>().StartAsync(spec, "tester", Ct));

        matrix.Summary.State.ShouldBe(MatrixState.Complete, string.Join("\n", matrix.Runs.Select(r => $"{r.Model} {r.Precision} {r.State} {r.Reason}")));
        (matrix.Summary.Complete, matrix.Summary.Skipped).ShouldBe((2, 2));
        matrix.Runs.Where(r => r.Precision == "bf16").ShouldAllBe(r => r.State == RunState.Skipped && r.Reason!.StartsWith("this CPU has no bf16 instruction"));
        matrix.Jobs.Where(j => j.Kind is "timing" or "perplexity").ShouldAllBe(j => j.State == "done" && j.Reason == null);
    }

    [Fact]
    public async Task A_job_outlives_cut_connections_and_the_node_that_started_it()
    {
        await using var board = await TestBoard.StartAsync();
        var options = board.Store.Options with { RetryFirst = TimeSpan.FromMilliseconds(200), NodeName = "first" };
        var first = await TestNode.StartAsync(options);
        await AddEverythingAsync(first, board);
        var id = await first.Get<IMatrixService>().StartAsync(LongSpec, "tester", Ct);
        await ProgressAsync(board.Store, 0.05);
        await board.Sshd.CutSessionsAsync(Ct);
        await ProgressAsync(board.Store, 0.2);
        await first.DisposeAsync();
        (await board.Store.ScalarAsync<string>("select state from attempt")).ShouldBe("running", "the engine goes on without a node");

        await using var second = await TestNode.StartAsync(options with { NodeName = "second" });
        var matrix = await WaitAsync(second, id);
        matrix.Summary.State.ShouldBe(MatrixState.Complete);
        (await board.Store.ScalarAsync<long>("select count(*) from attempt")).ShouldBe(1, "re-attached, not repeated");
        (await board.Store.ScalarAsync<long>("select count(*) from result where accepted")).ShouldBe(2);
        (await board.Store.ScalarAsync<long>("select count(*) from sample where not warmup")).ShouldBe(2 * 2 * 10 * Repetitions);
        (await board.Store.ScalarAsync<long>("select epoch from attempt")).ShouldBeGreaterThan(1);
    }

    [Fact]
    public async Task An_engine_that_is_killed_loses_only_the_block_it_was_at()
    {
        await using var board = await TestBoard.StartAsync();
        await using var node = await TestNode.StartAsync(board.Store.Options with { RetryFirst = TimeSpan.FromMilliseconds(200) });
        await AddEverythingAsync(node, board);
        var id = await node.Get<IMatrixService>().StartAsync(LongSpec, "tester", Ct);
        await ProgressAsync(board.Store, 0.2);
        board.KillEngine().ShouldBeGreaterThan(0);
        var matrix = await WaitAsync(node, id);
        matrix.Summary.State.ShouldBe(MatrixState.Complete);
        var attempts = await board.Store.Database.QueryAsync<string>("select state from attempt order by number", null, Ct);
        attempts.ShouldBe(["lost", "done"]);
        (await board.Store.ScalarAsync<long>("select count(distinct attempt_id) from block")).ShouldBe(2, "blocks finished before the crash are kept");
        (await board.Store.ScalarAsync<long>("select count(*) from sample where not warmup")).ShouldBe(2 * 2 * 10 * Repetitions, "nothing twice, nothing missing");
        (await board.Store.ScalarAsync<long>("select count(*) from result")).ShouldBe(2);
    }

    [Fact]
    public async Task A_board_of_another_cluster_is_refused_until_it_is_adopted_and_a_running_job_can_be_cancelled()
    {
        await using var board = await TestBoard.StartAsync();
        Directory.CreateDirectory(board.Root);
        await File.WriteAllTextAsync(Path.Combine(board.Root, "owner"), $"{Guid.NewGuid()} 7\n", Ct);
        await using var node = await TestNode.StartAsync(board.Store.Options);
        var device = await AddDeviceAsync(node, board);
        device.State.ShouldBe(DeviceState.Bad);
        device.StateReason.ShouldBe("belongs to another cluster: bench device adopt board");
        var devices = node.Get<IDeviceService>();
        await devices.AdoptAsync("board", Ct);
        await TestNode.UntilAsync(() => devices.FindAsync("board", Ct), d => d!.State == DeviceState.Ready, null, d => $"{d!.State} {d.StateReason}");

        await node.Get<IAssetService>().CreateRandomModelAsync("tiny-3m", "random", 1, null, Ct);
        var id = await node.Get<IMatrixService>().StartAsync(LongSpec with { Policy = LongSpec.Policy with { Rounds = 100 } }, "tester", Ct);
        await ProgressAsync(board.Store, 0.01);
        await node.Get<IMatrixService>().CancelAsync(id, "tester", Ct);
        var matrix = await WaitAsync(node, id);
        matrix.Summary.State.ShouldBe(MatrixState.Cancelled);
        board.KillEngine().ShouldBe(0, "nothing runs on the board any more");
    }

    /// <summary>So many that a fast machine is still at it when a test cuts, kills or cancels.</summary>
    private const int Repetitions = 40;

    private static MatrixSpec LongSpec => Spec with
    {
        Models = ["random"],
        Precisions = ["fp16", "w8a8"],
        Workloads = [new WorkloadSpec("speed", [], 192, 16, 1, null, null, null)],
        Policy = Spec.Policy with { Rounds = 10, MinRepetitions = Repetitions, MaxRepetitions = Repetitions },
    };

    private static Task<double> ProgressAsync(TestStore store, double wanted) =>
        TestNode.UntilAsync(
            async () => await store.ScalarAsync<double?>("select progress from attempt") ?? 0, p => p >= wanted, TimeSpan.FromSeconds(90), p => $"at {p:P0}");

    private static MatrixSpec Spec => new(
        "first", ["board"], ["docs", "random"], ["fp16", "w8a8", "w4a4"],
        [
            new WorkloadSpec("quality", ["docs"], null, null, 1, "text", "llama.cpp-128", 2),
            new WorkloadSpec("speed", ["random"], 32, 8, 1, null, null, null),
        ],
        new PolicySpec(Rounds: 6, MinRepetitions: 1, MaxRepetitions: 1, WarmupMax: 1, CoolDownTimeoutSeconds: 0));

    private static async Task AddEverythingAsync(TestNode node, TestBoard board)
    {
        var assets = node.Get<IAssetService>();
        await assets.ImportModelAsync(RepoFiles.SampleModel, "docs", null, Ct);
        await assets.CreateRandomModelAsync("tiny-3m", "random", 1, null, Ct);
        await assets.ImportDatasetAsync(Path.Combine(RepoFiles.Root, "docs", "engine-protocol.md"), "text", "text", Ct);
        var device = await AddDeviceAsync(node, board);
        device.State.ShouldBe(DeviceState.Ready, device.StateReason);
        device.SelfTest!.Passed.ShouldBeTrue();
        device.Facts!.Target.ShouldBe("linux-x64");
    }

    private static async Task<DeviceView> AddDeviceAsync(TestNode node, TestBoard board)
    {
        await node.Get<IAssetService>().AddEngineAsync(board.Engine, Ct);
        var devices = node.Get<IDeviceService>();
        await devices.AddAsync(new AddDeviceRequest("board", board.Sshd.Address, board.Sshd.HostKeyFingerprint, board.Sshd.IdentityFile), Ct);
        return (await TestNode.UntilAsync(() => devices.FindAsync("board", Ct), d => d!.State is DeviceState.Ready or DeviceState.Bad))!;
    }

    private static async Task<MatrixView> WaitAsync(TestNode node, Guid id)
    {
        var matrix = await TestNode.UntilAsync(
            () => node.Get<IMatrixService>().FindAsync(id.ToString(), Ct),
            m => m!.Summary.FinishedAt is not null, TimeSpan.FromSeconds(120),
            m => string.Join("\n", m!.Jobs.Select(j => $"{j.Kind} {j.Precision} {j.State} {j.Progress:P0} {j.Reason}")));
        // The node's own scores go on after the boards have everything.
        return (await TestNode.UntilAsync(
            () => node.Get<IMatrixService>().FindAsync(id.ToString(), Ct),
            m => m!.Runs.All(r => r.Perplexity is null or { NodeAgreement: not null, Full: not null } && (r.Perplexity is null || r.Precision == "fp16" || r.Perplexity.Full!.DeltaPercent is not null)),
            TimeSpan.FromSeconds(60), _ => "without all node scores"))!;
    }

    private static void CheckPerplexity(MatrixView matrix)
    {
        var quality = matrix.Runs.Where(r => r.Workload == "quality").ToDictionary(r => r.Precision, r => r.Perplexity!);
        quality.Count.ShouldBe(3);
        quality["fp16"].Name.ShouldBe("llama.cpp-128[0:2]");
        quality["fp16"].Value.ShouldBeInRange(2, 500);
        quality["fp16"].DeltaPercent.ShouldBeNull();
        quality["w8a8"].DeltaPercent!.Value.ShouldBeInRange(-5, 5);
        quality["w4a4"].DeltaPercent!.Value.ShouldBeGreaterThan(quality["w8a8"].DeltaPercent!.Value);
        quality.Values.ShouldAllBe(p => p.NodeAgreement < 1e-3, "the node runs the same engine on the same processor");
        quality["w8a8"].Full!.Windows.ShouldBeGreaterThan(2);
    }

    private static void CheckSpeed(MatrixView matrix)
    {
        var speed = matrix.Runs.Where(r => r.Workload == "speed").ToDictionary(r => r.Precision, r => r);
        speed.Count.ShouldBe(3);
        speed.Values.ShouldAllBe(r => r.Perplexity == null && r.Speed!.Prefill!.Repetitions == 6 && r.Speed.Generation!.Median > 0 && r.Grade != null);
        speed["fp16"].Speed!.Prefill!.Speedup.ShouldBeNull();
        var ratio = speed["w8a8"].Speed!.Prefill!.Speedup!;
        ratio.PairedBlocks.ShouldBe(6);
        ratio.Ratio.ShouldBeInRange(ratio.Low!.Value, ratio.High!.Value);
    }

    private static async Task CheckDetailAsync(TestNode node, MatrixView matrix)
    {
        var run = matrix.Runs.First(r => r is { Workload: "speed", Precision: "w4a4" });
        var detail = (await node.Get<IRunService>().FindAsync(run.Id, Ct))!;
        detail.Blocks.Count(b => !b.IsBaseline).ShouldBe(12);
        detail.Blocks.Count(b => b.IsBaseline).ShouldBe(12);
        detail.Attempts.ShouldHaveSingleItem().State.ShouldBe("done");
        detail.Provenance.EngineSha256.ShouldNotBeNull();
        detail.Provenance.Isa.ShouldNotBeNull();
        detail.Provenance.PackSha256.ShouldNotBeNull();
        detail.Provenance.Plan.ShouldNotBeNull().ShouldStartWith("agilequant-plan 1");
        var quality = (await node.Get<IRunService>().FindAsync(matrix.Runs.First(r => r is { Workload: "quality", Precision: "w8a8" }).Id, Ct))!;
        quality.Windows.Count.ShouldBe(2);
        quality.Windows.ShouldAllBe(w => w.BaselineMeanNll > 0);
        quality.Provenance.TokenFileSha256.ShouldNotBeNull();
    }
}
