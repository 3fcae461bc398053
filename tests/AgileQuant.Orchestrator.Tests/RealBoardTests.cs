using AgileQuant.Infra.Boards;
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
        var engine = RepoFiles.Engine(out var noEngine);
        Assert.SkipWhen(engine is null, noEngine ?? "");
        Assert.SkipUnless(LocalSshd.IsAvailable(out var noSshd), noSshd ?? "");
        await using var store = await TestStore.CreateAsync();
        var folder = Path.Combine(Path.GetTempPath(), "bench-board-" + Guid.NewGuid().ToString("N")[..12]);
        await using var sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = folder }, Ct);
        try
        {
            await using var node = await TestNode.StartAsync(store.Options);
            await AddEverythingAsync(node, sshd, engine!);
            var id = await node.Get<IMatrixService>().StartAsync(Spec, "tester", Ct);
            var matrix = await WaitAsync(node, id);

            matrix.Summary.State.ShouldBe(MatrixState.Complete, string.Join("\n", matrix.Runs.Select(r => $"{r.Model} {r.Precision} {r.State} {r.Reason}")));
            CheckPerplexity(matrix);
            CheckSpeed(matrix);
            await CheckDetailAsync(node, matrix);
            (await store.ScalarAsync<long>("select count(*) from result")).ShouldBe(matrix.Runs.Count(r => r.Speed is not null) + matrix.Runs.Count(r => r.Perplexity is not null));
            (await store.ScalarAsync<long>("select count(*) from staged_sample")).ShouldBe(0);
            await TestNode.UntilAsync(
                () => Task.FromResult(Directory.GetDirectories(Path.Combine(sshd.HomeFolder, ".agilequant", "jobs"))), folders => folders.Length == 0,
                TimeSpan.FromSeconds(20), _ => "there: job folders are removed after acceptance");
        }
        finally
        {
            await sshd.StopAsync(CancellationToken.None);
            Directory.Delete(folder, true);
        }
    }

    [Fact]
    public async Task A_job_outlives_cut_connections_and_the_node_that_started_it()
    {
        var engine = RepoFiles.Engine(out var noEngine);
        Assert.SkipWhen(engine is null, noEngine ?? "");
        Assert.SkipUnless(LocalSshd.IsAvailable(out var noSshd), noSshd ?? "");
        await using var store = await TestStore.CreateAsync();
        var folder = Path.Combine(Path.GetTempPath(), "bench-board-" + Guid.NewGuid().ToString("N")[..12]);
        await using var sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = folder }, Ct);
        try
        {
            var options = store.Options with { RetryFirst = TimeSpan.FromMilliseconds(200), NodeName = "first" };
            var first = await TestNode.StartAsync(options);
            await AddEverythingAsync(first, sshd, engine!);
            var spec = Spec with
            {
                Models = ["random"],
                Precisions = ["fp16", "w8a8"],
                Workloads = [new WorkloadSpec("speed", [], 192, 16, 1, null, null, null)],
                Policy = Spec.Policy with { Rounds = 10 },
            };
            var id = await first.Get<IMatrixService>().StartAsync(spec, "tester", Ct);
            await ProgressAsync(store, 0.05);
            await sshd.CutSessionsAsync(Ct);
            await ProgressAsync(store, 0.2);
            await first.DisposeAsync();
            (await store.ScalarAsync<string>("select state from attempt")).ShouldBe("running", "the engine goes on without a node");

            await using var second = await TestNode.StartAsync(options with { NodeName = "second" });
            var matrix = await WaitAsync(second, id);
            matrix.Summary.State.ShouldBe(MatrixState.Complete);
            (await store.ScalarAsync<long>("select count(*) from attempt")).ShouldBe(1, "re-attached, not repeated");
            (await store.ScalarAsync<long>("select count(*) from result where accepted")).ShouldBe(2);
            (await store.ScalarAsync<long>("select count(*) from sample where not warmup")).ShouldBe(2 * 2 * 10);
            (await store.ScalarAsync<long>("select epoch from attempt")).ShouldBeGreaterThan(1);
        }
        finally
        {
            await sshd.StopAsync(CancellationToken.None);
            Directory.Delete(folder, true);
        }
    }

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

    private static async Task AddEverythingAsync(TestNode node, LocalSshd sshd, string engine)
    {
        var assets = node.Get<IAssetService>();
        await assets.AddEngineAsync(engine, Ct);
        await assets.ImportModelAsync(RepoFiles.SampleModel, "docs", null, Ct);
        await assets.CreateRandomModelAsync("tiny-3m", "random", 1, null, Ct);
        await assets.ImportDatasetAsync(Path.Combine(RepoFiles.Root, "docs", "engine-protocol.md"), "text", "text", Ct);
        var devices = node.Get<IDeviceService>();
        await devices.AddAsync(new AddDeviceRequest("board", sshd.Address, sshd.HostKeyFingerprint, sshd.IdentityFile), Ct);
        var device = await TestNode.UntilAsync(() => devices.FindAsync("board", Ct), d => d!.State is DeviceState.Ready or DeviceState.Bad);
        device!.State.ShouldBe(DeviceState.Ready, device.StateReason);
        device.SelfTest!.Passed.ShouldBeTrue();
        device.Facts!.Target.ShouldBe("linux-x64");
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
