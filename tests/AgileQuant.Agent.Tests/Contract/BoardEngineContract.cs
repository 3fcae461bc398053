using AgileQuant.Agent.Protocol;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.Contract;

/// <summary>The life of a job on a board, with the real engine over a real sshd.</summary>
public abstract class BoardEngineContract : IAsyncLifetime
{
    private const string Cluster = "cluster-1";
    private static readonly TimeSpan FollowTime = TimeSpan.FromSeconds(90);

    private readonly DirectoryInfo _local = Directory.CreateTempSubdirectory("aqt-engine-");
    private readonly string _attempt = Guid.NewGuid().ToString();
    private IRemoteShell? _shell;
    private string _engineSha = "";
    private string _packSha = "";
    private string _tokensSha = "";

    protected static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Engine target of the board.</summary>
    protected abstract string Target { get; }

    protected virtual IRemoteShellFactory Factory => LocalBoard.OpenSsh();

    /// <summary>How to reach the board, or why there is none.</summary>
    protected abstract (ConnectionSettings? Settings, string Reason) Connection { get; }

    private IRemoteShell Shell => _shell ?? throw new InvalidOperationException("The test did not connect.");

    private string Root => $"{Shell.HomeFolder}/r-{_attempt[..8]}";

    [Fact]
    public async Task Says_what_it_is_and_that_its_kernels_are_right()
    {
        var engine = await EngineAsync();
        var info = await engine.InfoAsync(Cancellation);
        info.Target.ShouldBe(Target);
        info.Version.ShouldNotBeEmpty();
        info.Cores.ShouldBe(Environment.ProcessorCount);
        info.Isas.ShouldContain("scalar");
        info.Isas.ShouldContain(info.Isa);
        // bf16 only where the CPU has the instruction
        info.Kernels.Keys.Where(k => k != "bf16").ShouldBe(["fp16", "w8a8", "w4a8", "w4a4"], ignoreOrder: true);
        info.MemTotal!.Value.ShouldBeGreaterThan(0);
        info.Raw.GetProperty("version").GetString().ShouldBe(info.Version);

        var report = await engine.SelfTestAsync(quick: true, Cancellation);
        report.Passed.ShouldBeTrue(report.Describe());
        report.Kernels.ShouldNotBeEmpty();

        var sample = await engine.SampleAsync(TimeSpan.FromMilliseconds(50), loop: true, Cancellation);
        sample.LoopNs!.Value.ShouldBeGreaterThan(0);
        sample.MemAvailable!.Value.ShouldBeGreaterThan(0);
    }

    [Fact]
    public async Task A_timing_job_runs_from_plan_to_collected_result_and_is_cleaned_up()
    {
        var engine = await EngineAsync();
        await engine.PrepareJobAsync(TimingPlan(repetitions: 3), Cancellation);
        (await engine.StatusAsync(_attempt, Cancellation)).Jobs.ShouldHaveSingleItem().State.ShouldBe("prepared");
        await StartAsync(engine);
        var (events, result) = await FollowAsync(engine, _attempt, 0);

        result.ShouldBe(FollowResult.Ended);
        events.Select(e => e.Seq).ShouldBe(Enumerable.Range(0, events.Count).Select(i => (long)i));
        events[0].ShouldBeOfType<JobEvent>().Epoch.ShouldBe(3);
        events[^1].ShouldBeOfType<EndEvent>().Status.ShouldBe("done");
        events.OfType<SampleEvent>().Count(s => s.Block == 0).ShouldBe(3);
        events.OfType<SampleEvent>().ShouldAllBe(s => s.Ns > 0 && s.Tokens == 16);
        events.OfType<UnknownEvent>().ShouldBeEmpty();

        var collected = await engine.CollectAsync(_attempt, Path.Combine(_local.FullName, "collected"), Cancellation);
        collected.Result.Status.ShouldBe("done");
        collected.Result.Blocks.Select(b => b.Block).ShouldBe([0, 5]);
        collected.Result.Blocks[0].Ns.ShouldBe(events.OfType<SampleEvent>().Where(s => s.Block == 0).Select(s => s.Ns));
        collected.Result.Blocks[0].PackSha256.ShouldBe(_packSha);
        File.ReadLines(collected.JournalPath).Count().ShouldBe(events.Count);

        await engine.CleanAsync(_attempt, Cancellation);
        var status = await engine.StatusAsync(cancellationToken: Cancellation);
        status.Jobs.ShouldBeEmpty();
        status.Owner.ShouldBe(new EngineOwner(Cluster, 3));
    }

    [Fact]
    public async Task A_perplexity_job_brings_its_nll_files_home_and_a_damaged_one_is_refused()
    {
        var engine = await EngineAsync();
        await engine.PrepareJobAsync(PerplexityPlan(), Cancellation);
        await StartAsync(engine);
        var (events, result) = await FollowAsync(engine, _attempt, 0);
        result.ShouldBe(FollowResult.Ended);
        events.OfType<WindowEvent>().Select(w => w.Window).ShouldBe([0, 1]);

        var collected = await engine.CollectAsync(_attempt, Path.Combine(_local.FullName, "good"), Cancellation);
        var block = collected.Result.Blocks.ShouldHaveSingleItem();
        var file = await File.ReadAllBytesAsync(collected.NllFiles[7], Cancellation);
        file.Length.ShouldBe(block.Windows!.Value * block.Targets!.Value * sizeof(float));
        var firstWindow = Enumerable.Range(0, block.Targets.Value).Sum(i => (double)BitConverter.ToSingle(file, i * sizeof(float)));
        firstWindow.ShouldBe(events.OfType<WindowEvent>().First().NllSum, tolerance: 1e-3);

        var damage = await Shell.RunAsync(
            ["sh", "-c", "printf x | dd of=\"$1\" bs=1 seek=9 conv=notrunc", "sh", $"{Root}/jobs/{_attempt}/{block.NllFile}"], null, Cancellation);
        damage.ExitCode.ShouldBe(0, damage.Stderr);
        var refused = await Should.ThrowAsync<ProtocolException>(
            engine.CollectAsync(_attempt, Path.Combine(_local.FullName, "bad"), Cancellation));
        refused.Message.ShouldContain("SHA-256");
    }

    [Fact]
    public async Task Following_goes_on_without_gap_or_repeat_after_the_connection_was_cut()
    {
        var engine = await EngineAsync();
        await using var relay = new TcpRelay(Connection.Settings!.Address.Port);
        var through = Connection.Settings with { Address = Connection.Settings.Address with { Port = relay.Port } };
        await engine.PrepareJobAsync(LongPlan(), Cancellation);

        var seen = new List<long>();
        var offset = 0L;
        await using (var first = await Factory.ConnectAsync(through, Cancellation))
        {
            var started = new BoardEngine(first, _engineSha, Root);
            await StartAsync(started);
            await Should.ThrowAsync<ConnectionLostException>(async () =>
            {
                await foreach (var item in started.FollowAsync(_attempt, 0, FollowTime, Cancellation))
                {
                    offset = item.NextOffset;
                    if (item is FollowItem.Line line)
                        seen.Add(line.Event.Seq);
                    if (seen.Count == 20)
                        relay.Cut();
                }
            });
        }

        await using var second = await Factory.ConnectAsync(through, Cancellation);
        var again = new BoardEngine(second, _engineSha, Root);
        (await again.StatusAsync(cancellationToken: Cancellation)).Running.ShouldBe(_attempt);
        var following = FollowAsync(again, _attempt, offset);
        (await again.StopAsync(_attempt, TimeSpan.FromSeconds(30), Cancellation)).ShouldBeTrue();
        var (events, result) = await following;
        result.ShouldBe(FollowResult.Ended);
        seen.AddRange(events.Select(e => e.Seq));
        seen.ShouldBe(Enumerable.Range(0, seen.Count).Select(i => (long)i));
        events[^1].ShouldBeOfType<EndEvent>().Status.ShouldBe("stopped");
    }

    [Fact]
    public async Task Only_the_owner_with_the_newest_epoch_starts_and_only_one_engine_runs()
    {
        var engine = await EngineAsync();
        await engine.PrepareJobAsync(LongPlan(), Cancellation);
        await StartAsync(engine);
        (await engine.StartAsync(_attempt, Cluster, 3, Cancellation)).Result.ShouldBe(StartResult.Busy);
        (await engine.StartAsync(_attempt, Cluster, 2, Cancellation)).Result.ShouldBe(StartResult.EpochRefused);
        (await engine.StartAsync(_attempt, "cluster-2", 9, Cancellation)).Result.ShouldBe(StartResult.OtherCluster);
        (await engine.AdoptAsync("cluster-2", 1, Cancellation)).ShouldBeFalse();
        await Should.ThrowAsync<InvalidOperationException>(engine.CleanAsync(_attempt, Cancellation));

        var (events, result) = await FollowAsync(engine, _attempt, 0, TimeSpan.FromSeconds(1));
        result.ShouldBe(FollowResult.TimedOut);
        events.ShouldNotBeEmpty();

        (await engine.StopAsync(_attempt, TimeSpan.FromSeconds(30), Cancellation)).ShouldBeTrue();
        (await engine.AdoptAsync("cluster-2", 1, Cancellation)).ShouldBeTrue();
        (await engine.StatusAsync(cancellationToken: Cancellation)).Owner.ShouldBe(new EngineOwner("cluster-2", 1));
    }

    [Fact]
    public async Task A_killed_engine_is_lost_and_the_job_can_be_started_again_elsewhere()
    {
        var engine = await EngineAsync();
        await engine.PrepareJobAsync(LongPlan(), Cancellation);
        await StartAsync(engine);
        var kill = await Shell.RunAsync(
            ["sh", "-c", "read -r pid boot <\"$1\"; kill -KILL \"$pid\"", "sh", $"{Root}/jobs/{_attempt}/lock"], null, Cancellation);
        kill.ExitCode.ShouldBe(0, kill.Stderr);
        (await FollowAsync(engine, _attempt, 0)).Result.ShouldBe(FollowResult.Lost);
        (await engine.StatusAsync(_attempt, Cancellation)).Jobs.ShouldHaveSingleItem().State.ShouldBe("lost");
        await engine.CleanAsync(_attempt, Cancellation);
    }

    [Fact]
    public async Task A_plan_the_engine_cannot_use_is_refused_with_its_reason()
    {
        var engine = await EngineAsync();
        await engine.PrepareJobAsync(TimingPlan(repetitions: 1), Cancellation);
        await Shell.RunAsync(["sh", "-c", "echo 'colour green' >>\"$1\"", "sh", $"{Root}/jobs/{_attempt}/plan"], null, Cancellation);
        var outcome = await engine.StartAsync(_attempt, Cluster, 3, Cancellation);
        outcome.Result.ShouldBe(StartResult.BadPlan);
        outcome.Message.ShouldContain("unknown key");
    }

    public virtual ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public virtual async ValueTask DisposeAsync()
    {
        if (_shell is not null)
        {
            // Whatever a failed test left running.
            if (_shell.IsConnected && _engineSha.Length > 0)
                await new BoardEngine(_shell, _engineSha, Root).StopAsync(_attempt, TimeSpan.FromSeconds(1), CancellationToken.None);
            await _shell.DisposeAsync();
        }

        _local.Delete(recursive: true);
        GC.SuppressFinalize(this);
    }

    private static async Task<(List<EngineEvent> Events, FollowResult Result)> FollowAsync(
        BoardEngine engine, string attempt, long offset, TimeSpan? time = null)
    {
        var events = new List<EngineEvent>();
        await foreach (var item in engine.FollowAsync(attempt, offset, time ?? FollowTime, Cancellation))
        {
            if (item is FollowItem.Finished finished)
                return (events, finished.Result);
            events.Add(((FollowItem.Line)item).Event);
        }

        throw new InvalidOperationException("The follow ended without saying why.");
    }

    private async Task<BoardEngine> EngineAsync()
    {
        var (settings, reason) = Connection;
        Assert.SkipWhen(settings is null, reason);
        var (binary, missing) = NativeEngine.Find(Target);
        Assert.SkipWhen(binary is null, missing);
        _shell = await Factory.ConnectAsync(settings!, Cancellation);
        var pack = Path.Combine(_local.FullName, "pack.gguf");
        var tokens = Path.Combine(_local.FullName, "tokens");
        TinyPack.WriteModel(pack);
        TinyPack.WriteTokens(tokens, 128);
        _engineSha = await PushAsync(binary!, executable: true);
        _packSha = await PushAsync(pack);
        _tokensSha = await PushAsync(tokens);
        return new BoardEngine(_shell, _engineSha, Root);
    }

    private async Task<string> PushAsync(string path, bool executable = false)
    {
        var sha = TestFiles.Hash(path);
        await BoardStore.PushAsync(Shell, path, sha, null, executable, Root, Cancellation);
        return sha;
    }

    private async Task StartAsync(BoardEngine engine)
    {
        var outcome = await engine.StartAsync(_attempt, Cluster, 3, Cancellation);
        outcome.Result.ShouldBe(StartResult.Started, outcome.Message);
    }

    private JobPlan TimingPlan(int repetitions) => new()
    {
        Attempt = _attempt,
        Kind = JobKind.Timing,
        Threads = 1,
        Context = TinyPack.Context,
        Packs = [new PlanPack("fp16", _packSha)],
        PromptTokens = 16,
        GenerateTokens = 16,
        TelemetryMilliseconds = 100,
        WarmupMax = 2,
        Blocks =
        [
            new PlanBlock(0, "fp16", BlockKind.Prefill, repetitions, repetitions),
            new PlanBlock(5, "fp16", BlockKind.Generate, 1, 1),
        ],
    };

    /// <summary>Runs for longer than any test waits.</summary>
    private JobPlan LongPlan() => TimingPlan(JobPlan.MaxRepetitions) with { PromptTokens = 400 };

    private JobPlan PerplexityPlan() => new()
    {
        Attempt = _attempt,
        Kind = JobKind.Perplexity,
        Threads = 1,
        Context = 64,
        Packs = [new PlanPack("fp16", _packSha)],
        Perplexity = new PerplexityPlan(_tokensSha, PerplexityConvention.LlamaCpp, 64, 0, 2),
        Blocks = [new PlanBlock(7, "fp16", BlockKind.Perplexity, 1, 1)],
    };
}
