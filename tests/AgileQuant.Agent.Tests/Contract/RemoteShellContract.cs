using System.Text;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.Contract;

/// <summary>What every implementation of <see cref="IRemoteShell"/> must do, over a real sshd.</summary>
public abstract class RemoteShellContract(LocalBoard board) : IAsyncLifetime
{
    protected LocalBoard Board { get; } = board;

    protected static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    protected abstract IRemoteShellFactory Factory { get; }

    [Fact]
    public async Task Fetches_the_host_key_a_person_can_compare()
    {
        LocalBoard.SkipWithoutSshd();
        var offer = await Factory.FetchHostKeyAsync(Board.Address, Cancellation);
        offer.Fingerprint.ShouldBe(Board.Sshd.HostKeyFingerprint);
        offer.Algorithm.ShouldBe("ssh-ed25519");
        offer.KnownHostsLine.ShouldStartWith($"[127.0.0.1]:{Board.Sshd.Port} ssh-ed25519 AAAA");
    }

    [Fact]
    public async Task Runs_in_the_home_folder_with_exit_code_and_both_streams()
    {
        await using var shell = await ConnectAsync();
        shell.HomeFolder.ShouldBe(Board.Sshd.HomeFolder);
        var result = await RunScriptAsync(shell, "pwd; echo \"$HOME\"; echo oops >&2; exit 7");
        result.ExitCode.ShouldBe(7);
        result.Stdout.ShouldBe($"{Board.Sshd.HomeFolder}\n{Board.Sshd.HomeFolder}\n");
        result.Stderr.ShouldBe("oops\n");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(127)]
    [InlineData(254)]
    [InlineData(255)]
    public async Task Every_remote_exit_code_is_a_result(int code)
    {
        await using var shell = await ConnectAsync();
        var result = await RunScriptAsync(shell, $"echo before >&2; exit {code}");
        result.ExitCode.ShouldBe(code);
        result.Stderr.ShouldBe("before\n");
    }

    [Fact]
    public async Task A_command_that_kills_itself_is_a_result()
    {
        await using var shell = await ConnectAsync();
        (await RunScriptAsync(shell, "kill -KILL $$")).ExitCode.ShouldBe(128 + 9);
    }

    [Fact]
    public async Task A_program_that_is_not_there_is_a_result()
    {
        await using var shell = await ConnectAsync();
        (await shell.RunAsync(["no-such-program-here"], null, Cancellation)).ExitCode.ShouldBe(127);
    }

    [Fact]
    public async Task Arguments_arrive_unchanged_whatever_they_hold()
    {
        await using var shell = await ConnectAsync();
        var arguments = ShellText.Awkward.Concat(ShellText.Random(seed: 1, count: 60)).ToArray();
        var result = await shell.RunAsync(["printf", "%s\\0", .. arguments], null, Cancellation);
        result.Stdout.Split('\0')[..^1].ShouldBe(arguments);
    }

    [Fact]
    public async Task Standard_input_arrives_byte_for_byte()
    {
        await using var shell = await ConnectAsync();
        var bytes = new byte[300_000];
        new Random(5).NextBytes(bytes);
        var result = await shell.RunAsync(["sha256sum"], new RunOptions { Stdin = bytes }, Cancellation);
        result.Stdout.ShouldStartWith(Hash(bytes));
    }

    [Fact]
    public async Task A_command_that_reads_no_input_does_not_hang_or_fail_on_a_lot_of_it()
    {
        await using var shell = await ConnectAsync();
        var result = await shell.RunAsync(["true"], new RunOptions { Stdin = new byte[4_000_000] }, Cancellation);
        result.ExitCode.ShouldBe(0);
    }

    [Fact]
    public async Task Output_beyond_the_limits_is_dropped_and_said_so()
    {
        await using var shell = await ConnectAsync();
        var options = new RunOptions { MaxStdoutBytes = 1000, MaxStderrBytes = 10 };
        var result = await shell.RunAsync(
            ["sh", "-c", "yes x | head -c 3000000; yes y | head -c 200000 >&2; exit 255"], options, Cancellation);
        result.ExitCode.ShouldBe(255);
        result.Stdout.Length.ShouldBe(1000);
        result.Stderr.Length.ShouldBe(10);
        result.StdoutTruncated.ShouldBeTrue();
        result.StderrTruncated.ShouldBeTrue();
    }

    [Fact]
    public async Task A_command_that_does_not_end_is_a_timeout_and_the_connection_stays_usable()
    {
        await using var shell = await ConnectAsync();
        var slow = new RunOptions { Timeout = TimeSpan.FromMilliseconds(300) };
        var timeout = await Should.ThrowAsync<RemoteTimeoutException>(shell.RunAsync(["sleep", "600"], slow, Cancellation));
        timeout.Message.ShouldContain("'sleep'");
        (await shell.RunAsync(["echo", "still here"], null, Cancellation)).Stdout.ShouldBe("still here\n");
    }

    [Fact]
    public async Task Cancelling_ends_the_wait_with_the_callers_own_exception()
    {
        await using var shell = await ConnectAsync();
        using var source = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var run = shell.StreamAsync(["sh", "-c", "echo started; sleep 600"], (_, _) =>
        {
            source.Cancel();
            return ValueTask.CompletedTask;
        }, TimeSpan.FromMinutes(5), source.Token);
        await Should.ThrowAsync<OperationCanceledException>(run);
    }

    [Fact]
    public async Task Streams_output_while_the_command_runs()
    {
        await using var shell = await ConnectAsync();
        var go = Path.Combine(Board.NewFolder(), "go");
        var text = new StringBuilder();
        // The command ends only after the first line has reached us.
        var exitCode = await shell.StreamAsync(
            ["sh", "-c", "echo one; while [ ! -e \"$1\" ]; do sleep 0.05; done; echo two; exit 3", "sh", go],
            (chunk, _) =>
            {
                text.Append(Encoding.UTF8.GetString(chunk.Span));
                if (text.ToString() == "one\n")
                    File.WriteAllText(go, "");
                return ValueTask.CompletedTask;
            },
            TimeSpan.FromSeconds(60), Cancellation);
        exitCode.ShouldBe(3);
        text.ToString().ShouldBe("one\ntwo\n");
    }

    [Fact]
    public async Task A_callback_that_throws_ends_the_command_with_its_exception()
    {
        await using var shell = await ConnectAsync();
        var run = shell.StreamAsync(
            ["sh", "-c", "echo x; sleep 600"], (_, _) => throw new InvalidDataException("no"), TimeSpan.FromMinutes(5), Cancellation);
        await Should.ThrowAsync<InvalidDataException>(run);
        shell.IsConnected.ShouldBeTrue();
    }

    [Fact]
    public async Task More_commands_at_once_than_sessions_all_end()
    {
        await using var shell = await ConnectAsync();
        var runs = Enumerable.Range(0, 24).Select(i => shell.RunAsync(["sh", "-c", $"sleep 0.1; echo {i}"], null, Cancellation));
        var results = await Task.WhenAll(runs);
        results.Select(r => r.Stdout.Trim()).ShouldBe(Enumerable.Range(0, 24).Select(i => $"{i}"));
    }

    [Fact]
    public async Task Uploads_and_downloads_byte_for_byte_with_progress()
    {
        await using var shell = await ConnectAsync();
        var folder = Board.NewFolder();
        var local = TestFiles.Random(Path.Combine(folder, "local"), 3_333_333, seed: 7);
        var remote = Path.Combine(folder, "it's a $remote \"file\"");
        var progress = new Recorder();
        await shell.UploadAsync(local, remote, 0, progress, Cancellation);
        TestFiles.Hash(remote).ShouldBe(TestFiles.Hash(local));
        progress.Values.ShouldBe(progress.Values.Order());
        progress.Values[^1].ShouldBe(3_333_333);

        using var back = new MemoryStream();
        (await shell.DownloadAsync(remote, back, 0, long.MaxValue, Cancellation)).ShouldBe(3_333_333);
        Hash(back.ToArray()).ShouldBe(TestFiles.Hash(local));
    }

    [Fact]
    public async Task An_empty_file_is_uploaded_and_an_old_one_truncated()
    {
        await using var shell = await ConnectAsync();
        var folder = Board.NewFolder();
        var remote = Path.Combine(folder, "remote");
        await File.WriteAllTextAsync(remote, "old content", Cancellation);
        await shell.UploadAsync(TestFiles.Random(Path.Combine(folder, "empty"), 0, seed: 1), remote, 0, null, Cancellation);
        new FileInfo(remote).Length.ShouldBe(0);
    }

    [Fact]
    public async Task Downloads_a_part()
    {
        await using var shell = await ConnectAsync();
        var remote = Path.Combine(Board.NewFolder(), "r");
        await File.WriteAllTextAsync(remote, "0123456789", Cancellation);
        using var part = new MemoryStream();
        (await shell.DownloadAsync(remote, part, 3, 4, Cancellation)).ShouldBe(4);
        Encoding.ASCII.GetString(part.ToArray()).ShouldBe("3456");
        (await shell.DownloadAsync(remote, part, 10, 4, Cancellation)).ShouldBe(0);
    }

    [Fact]
    public async Task Downloading_what_is_not_there_says_so()
    {
        await using var shell = await ConnectAsync();
        using var nowhere = new MemoryStream();
        var error = await Should.ThrowAsync<RemoteCommandException>(shell.DownloadAsync("/no/such/file", nowhere, 0, 1, Cancellation));
        error.Message.ShouldContain("/no/such/file is not there");
    }

    [Fact]
    public async Task Uploading_into_a_folder_that_is_not_there_fails_with_the_boards_reason()
    {
        await using var shell = await ConnectAsync();
        var local = TestFiles.Random(Path.Combine(Board.NewFolder(), "l"), 100_000, seed: 1);
        var error = await Should.ThrowAsync<RemoteCommandException>(shell.UploadAsync(local, "/no/such/folder/f", 0, null, Cancellation));
        error.Message.ShouldContain("/no/such/folder/f");
    }

    [Fact]
    public async Task An_upload_cut_in_the_middle_resumes_where_the_board_has_it()
    {
        LocalBoard.SkipWithoutSshd();
        await using var relay = new TcpRelay(Board.Sshd.Port);
        var folder = Board.NewFolder();
        var local = TestFiles.Random(Path.Combine(folder, "local"), 8_000_000, seed: 3);
        var remote = Path.Combine(folder, "remote");
        await using (var shell = await Factory.ConnectAsync(Board.Through(relay), Cancellation))
        {
            relay.CutAfter(relay.Sent + 4_000_000);
            await Should.ThrowAsync<ConnectionLostException>(shell.UploadAsync(local, remote, 0, null, Cancellation));
            shell.IsConnected.ShouldBeFalse();
        }

        var partial = new FileInfo(remote).Length;
        partial.ShouldBeInRange(1, 7_999_999);
        await using var again = await Factory.ConnectAsync(Board.Through(relay), Cancellation);
        var before = relay.Sent;
        await again.UploadAsync(local, remote, partial, null, Cancellation);
        TestFiles.Hash(remote).ShouldBe(TestFiles.Hash(local));
        (relay.Sent - before).ShouldBeLessThan(8_000_000 - partial + 500_000);
    }

    [Fact]
    public async Task A_cut_connection_is_told_apart_from_a_remote_exit_code()
    {
        LocalBoard.SkipWithoutSshd();
        await using var relay = new TcpRelay(Board.Sshd.Port);
        await using var shell = await Factory.ConnectAsync(Board.Through(relay), Cancellation);
        var run = shell.StreamAsync(["sh", "-c", "echo up; sleep 600"], (_, _) =>
        {
            relay.Cut();
            return ValueTask.CompletedTask;
        }, TimeSpan.FromMinutes(5), Cancellation);
        var lost = await Should.ThrowAsync<ConnectionLostException>(run);
        lost.IsTransient.ShouldBeTrue();
        shell.IsConnected.ShouldBeFalse();
        await Should.ThrowAsync<ConnectionLostException>(shell.RunAsync(["true"], null, Cancellation));
    }

    [Fact]
    public async Task A_network_that_goes_silent_is_noticed_by_the_keep_alive()
    {
        LocalBoard.SkipWithoutSshd();
        await using var relay = new TcpRelay(Board.Sshd.Port);
        var settings = Board.Through(relay) with { KeepAliveInterval = TimeSpan.FromSeconds(1), KeepAliveMisses = 1 };
        await using var shell = await Factory.ConnectAsync(settings, Cancellation);
        var run = shell.StreamAsync(["sh", "-c", "echo up; sleep 600"], (_, _) =>
        {
            relay.Stall();
            return ValueTask.CompletedTask;
        }, TimeSpan.FromMinutes(5), Cancellation);
        await Should.ThrowAsync<ConnectionLostException>(run);
    }

    [Fact]
    public async Task Another_host_key_than_the_pinned_one_is_refused()
    {
        LocalBoard.SkipWithoutSshd();
        var pinned = "SHA256:" + new string('A', 43);
        var refused = await Should.ThrowAsync<HostKeyChangedException>(
            Factory.ConnectAsync(Board.Settings with { HostKeyFingerprint = pinned }, Cancellation));
        refused.Expected.ShouldBe(pinned);
        refused.Actual.ShouldBe(Board.Sshd.HostKeyFingerprint);
    }

    [Fact]
    public async Task A_key_the_board_does_not_know_is_an_authentication_failure()
    {
        LocalBoard.SkipWithoutSshd();
        // The host key is a valid private key that is not in authorized_keys.
        var other = Path.Combine(Path.GetDirectoryName(Board.Sshd.IdentityFile)!, "host_ed25519");
        var refused = await Should.ThrowAsync<AuthenticationFailedException>(
            Factory.ConnectAsync(Board.Settings with { IdentityFile = other }, Cancellation));
        refused.Message.ShouldContain("ssh-copy-id");
    }

    [Fact]
    public async Task A_port_where_nothing_listens_is_unreachable()
    {
        LocalBoard.SkipWithoutSshd();
        var relay = new TcpRelay(1);
        var nobody = Board.Through(relay);
        await relay.DisposeAsync();
        await Should.ThrowAsync<HostUnreachableException>(Factory.ConnectAsync(nobody, Cancellation));
        await Should.ThrowAsync<HostUnreachableException>(Factory.FetchHostKeyAsync(nobody.Address, Cancellation));
    }

    [Fact]
    public async Task A_server_that_never_answers_is_unreachable_within_the_connect_timeout()
    {
        LocalBoard.SkipWithoutSshd();
        await using var relay = new TcpRelay(Board.Sshd.Port);
        relay.Stall();
        var settings = Board.Through(relay) with { ConnectTimeout = TimeSpan.FromSeconds(1) };
        await Should.ThrowAsync<HostUnreachableException>(Factory.ConnectAsync(settings, Cancellation));
    }

    [Fact]
    public async Task Disposing_ends_the_connection_and_what_waits_on_it()
    {
        var shell = await ConnectAsync();
        var run = shell.RunAsync(["sleep", "600"], new RunOptions { Timeout = TimeSpan.FromMinutes(5) }, Cancellation);
        await shell.DisposeAsync();
        await Should.ThrowAsync<ConnectionLostException>(run);
        shell.IsConnected.ShouldBeFalse();
    }

    public ValueTask InitializeAsync()
    {
        ContractReport.Ran(Factory.Transport);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    protected async Task<IRemoteShell> ConnectAsync()
    {
        LocalBoard.SkipWithoutSshd();
        return await Factory.ConnectAsync(Board.Settings, Cancellation);
    }

    private static Task<RemoteResult> RunScriptAsync(IRemoteShell shell, string script) =>
        shell.RunAsync(["sh", "-c", script], null, Cancellation);

    private static string Hash(byte[] bytes) => Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes));

    private sealed class Recorder : IProgress<long>
    {
        public List<long> Values { get; } = [];

        public void Report(long value) => Values.Add(value);
    }
}
