using AgileQuant.Agent.Tests.Support;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.Boards;

public sealed class LocalSshdTests : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-sshd-");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_board_that_is_kept_running_is_attached_to_and_stopped_later()
    {
        LocalBoard.SkipWithoutSshd();
        var options = Options("kept") with { KeepRunning = true };
        var started = await LocalSshd.StartAsync(options, Cancellation);
        await started.DisposeAsync();
        started.IsRunning.ShouldBeTrue();

        var attached = await LocalSshd.AttachAsync(options.Folder, Cancellation);
        attached!.Address.ShouldBe(started.Address);
        attached.HostKeyFingerprint.ShouldBe(started.HostKeyFingerprint);
        (await LocalSshd.StartAsync(options, Cancellation)).Port.ShouldBe(started.Port);

        await attached.StopAsync(Cancellation);
        started.IsRunning.ShouldBeFalse();
        (await LocalSshd.AttachAsync(options.Folder, Cancellation)).ShouldBeNull();
    }

    [Fact]
    public async Task A_restarted_board_keeps_its_keys_and_its_home()
    {
        LocalBoard.SkipWithoutSshd();
        string fingerprint;
        await using (var first = await LocalSshd.StartAsync(Options("again"), Cancellation))
        {
            fingerprint = first.HostKeyFingerprint;
            await File.WriteAllTextAsync(Path.Combine(first.HomeFolder, "note"), "still here", Cancellation);
        }

        await using var second = await LocalSshd.StartAsync(Options("again"), Cancellation);
        second.HostKeyFingerprint.ShouldBe(fingerprint);
        await using var shell = await ConnectAsync(second);
        (await shell.RunAsync(["cat", "note"], null, Cancellation)).Stdout.ShouldBe("still here");
    }

    [Fact]
    public async Task Two_boards_on_one_machine_have_homes_and_keys_of_their_own()
    {
        LocalBoard.SkipWithoutSshd();
        await using var one = await LocalSshd.StartAsync(Options("one"), Cancellation);
        await using var two = await LocalSshd.StartAsync(Options("two"), Cancellation);
        two.HostKeyFingerprint.ShouldNotBe(one.HostKeyFingerprint);
        await using var shellOne = await ConnectAsync(one);
        await using var shellTwo = await ConnectAsync(two);
        shellOne.HomeFolder.ShouldBe(one.HomeFolder);
        shellTwo.HomeFolder.ShouldBe(two.HomeFolder);
        var crossed = new ConnectionSettings(DeviceAddress.Parse(one.Address), one.HostKeyFingerprint, two.IdentityFile);
        await Should.ThrowAsync<AuthenticationFailedException>(LocalBoard.OpenSsh().ConnectAsync(crossed, Cancellation));
    }

    [Theory]
    [InlineData("bash")]
    [InlineData("zsh")]
    [InlineData("fish")]
    [InlineData("tcsh")]
    public async Task Any_login_shell_will_do(string name)
    {
        LocalBoard.SkipWithoutSshd();
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(f => Path.Combine(f, name)).FirstOrDefault(File.Exists);
        Assert.SkipWhen(path is null, $"{name} is not installed");
        await using var board = await LocalSshd.StartAsync(Options(name) with { Shell = path! }, Cancellation);
        await using var shell = await ConnectAsync(board);
        var result = await shell.RunAsync(["printf", "%s\\0", .. ShellText.Awkward], null, Cancellation);
        result.Stdout.Split('\0')[..^1].ShouldBe(ShellText.Awkward);
        (await DeviceProbe.RunAsync(shell, Cancellation)).HomeFolder.ShouldBe(board.HomeFolder);
    }

    [Fact]
    public async Task A_login_shell_that_runs_nothing_is_told_apart_from_an_unreachable_board()
    {
        LocalBoard.SkipWithoutSshd();
        await using var board = await LocalSshd.StartAsync(Options("broken") with { Shell = "/bin/false" }, Cancellation);
        var error = await Should.ThrowAsync<RemoteShellException>(ConnectAsync(board));
        error.ShouldNotBeOfType<HostUnreachableException>();
        error.Message.ShouldContain("login shell");
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        foreach (var folder in _folder.EnumerateDirectories())
        {
            if (await LocalSshd.AttachAsync(folder.FullName, CancellationToken.None) is { } left)
                await left.StopAsync(CancellationToken.None);
        }

        _folder.Delete(recursive: true);
    }

    private static Task<IRemoteShell> ConnectAsync(LocalSshd board) => LocalBoard.OpenSsh().ConnectAsync(
        new ConnectionSettings(DeviceAddress.Parse(board.Address), board.HostKeyFingerprint, board.IdentityFile), Cancellation);

    private LocalSshdOptions Options(string name) => new() { Folder = Path.Combine(_folder.FullName, name) };
}
