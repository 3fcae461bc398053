using System.Security.Cryptography;
using AgileQuant.Agent.Tests.Support;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.Contract;

/// <summary>What every implementation of <see cref="IRemoteShell"/> must do with much data, bad links and boards of other kinds.</summary>
public abstract class RemoteTransferContract(LocalBoard board) : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-move-");

    protected static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    protected abstract IRemoteShellFactory Factory { get; }

    public ValueTask InitializeAsync()
    {
        ContractReport.Ran(Factory.Transport);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task An_upload_over_a_link_that_goes_silent_is_given_up_and_resumes()
    {
        LocalBoard.SkipWithoutSshd();
        await using var relay = new TcpRelay(board.Sshd.Port);
        var settings = board.Through(relay) with { KeepAliveInterval = TimeSpan.FromSeconds(1), KeepAliveMisses = 1 };
        var local = LocalFile(24_000_000);
        var remote = Path.Combine(board.NewFolder(), "remote");
        await using (var shell = await Factory.ConnectAsync(settings, Cancellation))
        {
            var stall = new OnProgress(offset =>
            {
                if (offset > 6_000_000)
                    relay.Stall();
            });
            await Should.ThrowAsync<ConnectionLostException>(shell.UploadAsync(local, remote, 0, stall, Cancellation));
            shell.IsConnected.ShouldBeFalse();
        }

        // What the old connection still held arrives now, while the new one writes the same file.
        relay.Resume();
        var partial = new FileInfo(remote).Length;
        partial.ShouldBeInRange(1, 23_999_999);
        await using var again = await Factory.ConnectAsync(settings, Cancellation);
        await again.UploadAsync(local, remote, partial, null, Cancellation);
        TestFiles.Hash(remote).ShouldBe(TestFiles.Hash(local));
    }

    [Fact]
    public async Task A_part_left_by_a_cut_upload_has_no_holes()
    {
        LocalBoard.SkipWithoutSshd();
        await using var relay = new TcpRelay(board.Sshd.Port);
        var local = LocalFile(16_000_000);
        var bytes = await File.ReadAllBytesAsync(local, Cancellation);
        foreach (var cut in (int[])[3_700_000, 6_000_000, 9_900_000])
        {
            var remote = Path.Combine(board.NewFolder(), "remote");
            await using var shell = await Factory.ConnectAsync(board.Through(relay), Cancellation);
            relay.CutAfter(relay.Sent + cut);
            await Should.ThrowAsync<ConnectionLostException>(shell.UploadAsync(local, remote, 0, null, Cancellation));
            var part = await File.ReadAllBytesAsync(remote, Cancellation);
            part.AsSpan().SequenceEqual(bytes.AsSpan(0, part.Length)).ShouldBeTrue();
        }
    }

    [Fact]
    public async Task A_lot_of_output_arrives_whole()
    {
        await using var shell = await ConnectAsync();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var exitCode = await shell.StreamAsync(["seq", "1", "6000000"], (chunk, _) =>
        {
            hash.AppendData(chunk.Span);
            return ValueTask.CompletedTask;
        }, TimeSpan.FromMinutes(2), Cancellation);
        exitCode.ShouldBe(0);
        var there = await shell.RunAsync(["sh", "-c", "seq 1 6000000 | sha256sum"], null, Cancellation);
        there.Stdout.ShouldStartWith(Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    [Fact]
    public async Task The_connections_keys_are_renewed_while_data_moves()
    {
        LocalBoard.SkipWithoutSshd();
        await using var sshd = await StartAsync(new LocalSshdOptions { Folder = Folder("rekey"), ExtraConfig = ["RekeyLimit 2M"] });
        await using var shell = await Factory.ConnectAsync(Settings(sshd), Cancellation);
        var local = LocalFile(15_000_000);
        var remote = Path.Combine(sshd.HomeFolder, "remote");
        await shell.UploadAsync(local, remote, 0, null, Cancellation);
        TestFiles.Hash(remote).ShouldBe(TestFiles.Hash(local));
        using var back = new MemoryStream();
        (await shell.DownloadAsync(remote, back, 0, long.MaxValue, Cancellation)).ShouldBe(15_000_000);
        Convert.ToHexStringLower(SHA256.HashData(back.ToArray())).ShouldBe(TestFiles.Hash(local));
    }

    [Theory]
    [InlineData("none")]
    [InlineData("broken")]
    public async Task A_board_without_an_sftp_server_is_as_good(string server)
    {
        LocalBoard.SkipWithoutSshd();
        await using var sshd = await StartAsync(new LocalSshdOptions
        {
            Folder = Folder(server),
            Sftp = false,
            ExtraConfig = server == "broken" ? ["Subsystem sftp /no/such/sftp-server"] : [],
        });
        await using var shell = await Factory.ConnectAsync(Settings(sshd), Cancellation);
        var local = LocalFile(3_000_000);
        var remote = Path.Combine(sshd.HomeFolder, "remote");
        var bytes = await File.ReadAllBytesAsync(local, Cancellation);
        await File.WriteAllBytesAsync(remote, bytes[..1_000_000], Cancellation);
        await shell.UploadAsync(local, remote, 1_000_000, null, Cancellation);
        TestFiles.Hash(remote).ShouldBe(TestFiles.Hash(local));
        await shell.UploadAsync(local, remote, 0, null, Cancellation);
        TestFiles.Hash(remote).ShouldBe(TestFiles.Hash(local));
    }

    [Fact]
    public async Task Resuming_onto_a_longer_file_says_what_is_wrong()
    {
        await using var shell = await ConnectAsync();
        var remote = Path.Combine(board.NewFolder(), "remote");
        TestFiles.Random(remote, 4_000_000, seed: 8);
        var error = await Should.ThrowAsync<RemoteCommandException>(
            shell.UploadAsync(LocalFile(3_000_000), remote, 500_000, null, Cancellation));
        error.Message.ShouldContain("4000000 bytes instead of 3000000");
    }

    [Fact]
    public async Task Uploads_and_commands_at_once_do_not_disturb_each_other()
    {
        await using var shell = await ConnectAsync();
        var folder = board.NewFolder();
        var local = LocalFile(5_000_000);
        string[] remotes = [.. Enumerable.Range(0, 3).Select(i => Path.Combine(folder, $"remote{i}"))];
        var uploads = remotes.Select(r => shell.UploadAsync(local, r, 0, null, Cancellation)).ToArray();
        var commands = Enumerable.Range(0, 12).Select(i => shell.RunAsync(["sh", "-c", $"sleep 0.05; echo {i}"], null, Cancellation)).ToArray();
        (await Task.WhenAll(commands)).Select(r => r.Stdout.Trim()).ShouldBe(Enumerable.Range(0, 12).Select(i => $"{i}"));
        await Task.WhenAll(uploads);
        remotes.Select(TestFiles.Hash).ShouldAllBe(h => h == TestFiles.Hash(local));
    }

    [Fact]
    public async Task A_cancelled_upload_ends_at_once_and_the_connection_stays_usable()
    {
        await using var shell = await ConnectAsync();
        using var source = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var cancel = new OnProgress(_ => source.Cancel());
        var upload = shell.UploadAsync(LocalFile(24_000_000), Path.Combine(board.NewFolder(), "remote"), 0, cancel, source.Token);
        await Should.ThrowAsync<OperationCanceledException>(upload);
        (await shell.RunAsync(["echo", "still here"], null, Cancellation)).Stdout.ShouldBe("still here\n");
    }

    [Fact]
    public async Task A_command_nobody_waits_for_any_more_ends_when_it_writes()
    {
        await using var shell = await ConnectAsync();
        var text = new System.Text.StringBuilder();
        using var source = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var run = shell.StreamAsync(["sh", "-c", "echo $$; while sleep 0.05; do echo on || exit; done"], (chunk, _) =>
        {
            text.Append(System.Text.Encoding.UTF8.GetString(chunk.Span));
            source.Cancel();
            return ValueTask.CompletedTask;
        }, TimeSpan.FromMinutes(5), source.Token);
        await Should.ThrowAsync<OperationCanceledException>(run);
        var process = $"/proc/{text.ToString().Split('\n')[0]}";
        for (var i = 0; i < 600 && Directory.Exists(process); i++)
            await Task.Delay(50, Cancellation);
        Directory.Exists(process).ShouldBeFalse();
    }

    private static ConnectionSettings Settings(LocalSshd sshd) =>
        new(DeviceAddress.Parse(sshd.Address), sshd.HostKeyFingerprint, sshd.IdentityFile);

    private static Task<LocalSshd> StartAsync(LocalSshdOptions options) => LocalSshd.StartAsync(options, Cancellation);

    private string Folder(string name) => Path.Combine(_folder.FullName, name);

    private string LocalFile(int size) => TestFiles.Random(Folder($"local{size}"), size, seed: size);

    private async Task<IRemoteShell> ConnectAsync()
    {
        LocalBoard.SkipWithoutSshd();
        return await Factory.ConnectAsync(board.Settings, Cancellation);
    }

    private sealed class OnProgress(Action<long> action) : IProgress<long>
    {
        public void Report(long value) => action(value);
    }
}
