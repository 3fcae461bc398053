using AgileQuant.Agent.Tests.Support;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.Boards;

public sealed class EmulatedArmBoardTests : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-arm-");
    private EmulatedArmBoard? _board;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Is_a_cortex_a72_with_its_own_shell_and_says_that_it_is_emulated()
    {
        await using var shell = await ConnectAsync();
        var facts = await DeviceProbe.RunAsync(shell, Cancellation);
        facts.Machine.ShouldBe("aarch64");
        facts.Architecture.ShouldBe("linux-arm64");
        facts.CpuModel.ShouldBe("Cortex-A72");
        facts.CpuFeatures.ShouldContain("asimd");
        facts.CpuFeatures.ShouldNotContain("asimddp");
        facts.Cores.Count.ShouldBe(Environment.ProcessorCount);
        facts.IsEmulated.ShouldBeTrue();
        facts.EmulationHint!.ShouldContain("cortex-a72");
        facts.HomeFolder.ShouldBe("/home/board");
        facts.OsName.ShouldContain("Emulated Arm board");
        facts.DiskFreeBytes!.Value.ShouldBeGreaterThan(0);
        facts.ThermalZones.ShouldBeEmpty();
        facts.BootId.ShouldNotBeNull();
    }

    [Fact]
    public async Task Runs_commands_as_a_board_does()
    {
        await using var shell = await ConnectAsync();
        var input = new byte[500_000];
        new Random(3).NextBytes(input);
        var hash = await shell.RunAsync(["sha256sum"], new RunOptions { Stdin = input }, Cancellation);
        hash.Stdout.ShouldStartWith(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(input)));
        var failed = await shell.RunAsync(["sh", "-c", "echo out; echo err >&2; exit 255"], null, Cancellation);
        failed.ShouldBe(new RemoteResult(255, "out\n", "err\n"));
        string[] arguments = [.. ShellText.Awkward];
        var echoed = await shell.RunAsync(["printf", "%s\\0", .. arguments], null, Cancellation);
        echoed.Stdout.Split('\0')[..^1].ShouldBe(arguments);
    }

    [Fact]
    public async Task Artifacts_can_be_pushed_and_verified_there()
    {
        await using var shell = await ConnectAsync();
        var file = TestFiles.Random(Path.Combine(_folder.FullName, "artifact"), 1_500_000, seed: 4);
        var sha = TestFiles.Hash(file);
        (await BoardStore.PushAsync(shell, file, sha, cancellationToken: Cancellation)).Result.ShouldBe(PushResult.Uploaded);
        (await BoardStore.PushAsync(shell, file, sha, cancellationToken: Cancellation)).Result.ShouldBe(PushResult.AlreadyThere);
        TestFiles.Hash(Path.Combine(_board!.HomeFolder, ".agilequant/store", sha)).ShouldBe(sha);
    }

    [Fact]
    public async Task A_detached_program_outlives_its_session_until_the_board_is_powered_off()
    {
        var shell = await ConnectAsync();
        var lives = Path.Combine(_board!.HomeFolder, "lives");
        const string Script = "( trap '' HUP; while :; do echo x >> lives; sleep 0.1; done ) </dev/null >/dev/null 2>&1 & echo \"$1 started\"";
        var name = Guid.NewGuid().ToString("N");
        var started = await shell.RunAsync(["sh", "-c", Script, "sh", name], null, Cancellation);
        started.Stdout.ShouldBe($"{name} started\n");
        await shell.DisposeAsync();
        await _board.Sshd.CutSessionsAsync(Cancellation);
        var before = Length(lives);
        await UntilAsync(() => Length(lives) > before + 6);

        await _board.PowerOffAsync(Cancellation);
        // The program's arguments hold the name; nothing may be left of it, inside the board or outside.
        ProcessesWith(name).ShouldBeEmpty();
    }

    public async ValueTask InitializeAsync() => _board = await EmulatedBoard.StartAsync(_folder);

    public async ValueTask DisposeAsync()
    {
        if (_board is not null)
            await _board.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    private static List<string> ProcessesWith(string argument) =>
        [.. Directory.EnumerateDirectories("/proc").Where(p => char.IsAsciiDigit(Path.GetFileName(p)[0])).Where(p =>
        {
            try
            {
                return File.ReadAllText(p + "/cmdline").Contains(argument, StringComparison.Ordinal);
            }
            catch (IOException)
            {
                return false;
            }
        })];

    private static long Length(string path) => File.Exists(path) ? new FileInfo(path).Length : 0;

    private static async Task UntilAsync(Func<bool> holds)
    {
        for (var i = 0; i < 600 && !holds(); i++)
            await Task.Delay(50, Cancellation);
        holds().ShouldBeTrue();
    }

    private async Task<IRemoteShell> ConnectAsync()
    {
        var available = EmulatedArmBoard.IsAvailable(out var reason);
        Assert.SkipUnless(available, reason ?? "");
        return await LocalBoard.OpenSsh().ConnectAsync(EmulatedBoard.Settings(_board!), Cancellation);
    }
}
