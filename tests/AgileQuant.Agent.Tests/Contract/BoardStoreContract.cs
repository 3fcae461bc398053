using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.Contract;

/// <summary>The board's store of artifacts, over a transport.</summary>
public abstract class BoardStoreContract(LocalBoard board) : IDisposable
{
    private const int Size = 2_000_000;

    private readonly DirectoryInfo _local = Directory.CreateTempSubdirectory("aqt-store-");

    protected abstract IRemoteShellFactory Factory { get; }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Pushes_once_and_then_skips()
    {
        var (file, sha) = NewFile(1);
        var root = NewRoot();
        await using var shell = await ConnectAsync();
        var last = default(PushProgress);
        var first = await BoardStore.PushAsync(shell, file, sha, new Last(p => last = p), executable: true, root, Cancellation);
        first.ShouldBe(new PushOutcome(PushResult.Uploaded, Size));
        last.ShouldBe(new PushProgress(Size, Size));
        var stored = Path.Combine(root, "store", sha);
        TestFiles.Hash(stored).ShouldBe(sha);
        (await shell.RunAsync(["stat", "-c", "%a", stored], null, Cancellation)).Stdout.ShouldBe("500\n");
        File.Exists(stored + ".part").ShouldBeFalse();

        var second = await BoardStore.PushAsync(shell, file, sha, null, executable: true, root, Cancellation);
        second.ShouldBe(new PushOutcome(PushResult.AlreadyThere, 0));
    }

    [Fact]
    public async Task A_damaged_artifact_is_replaced()
    {
        var (file, sha) = NewFile(2);
        var root = NewRoot();
        await using var shell = await ConnectAsync();
        await PushAsync(shell, file, sha, root);
        var stored = Path.Combine(root, "store", sha);
        var bytes = await File.ReadAllBytesAsync(stored, Cancellation);
        bytes[Size / 2] ^= 1;
        File.Delete(stored);
        await File.WriteAllBytesAsync(stored, bytes, Cancellation);
        File.SetLastWriteTimeUtc(stored, DateTime.UtcNow.AddMinutes(1));

        (await PushAsync(shell, file, sha, root)).Result.ShouldBe(PushResult.Uploaded);
        TestFiles.Hash(stored).ShouldBe(sha);
    }

    [Fact]
    public async Task What_was_verified_in_an_earlier_boot_is_verified_again()
    {
        var (file, sha) = NewFile(3);
        var root = NewRoot();
        await using var shell = await ConnectAsync();
        await PushAsync(shell, file, sha, root);
        var stored = Path.Combine(root, "store", sha);
        var time = File.GetLastWriteTimeUtc(stored);
        File.Delete(stored);
        await File.WriteAllBytesAsync(stored, new byte[Size], Cancellation);
        File.SetLastWriteTimeUtc(stored, time);
        await File.WriteAllTextAsync(stored + ".ok", "another boot\n", Cancellation);

        (await PushAsync(shell, file, sha, root)).Result.ShouldBe(PushResult.Uploaded);
        TestFiles.Hash(stored).ShouldBe(sha);
    }

    [Fact]
    public async Task A_push_that_was_cut_off_resumes()
    {
        LocalBoard.SkipWithoutSshd();
        var (file, sha) = NewFile(4);
        var root = NewRoot();
        await using var relay = new TcpRelay(board.Sshd.Port);
        await using (var shell = await Factory.ConnectAsync(board.Through(relay), Cancellation))
        {
            relay.CutAfter(relay.Sent + Size / 2);
            await Should.ThrowAsync<ConnectionLostException>(PushAsync(shell, file, sha, root));
        }

        await using var again = await Factory.ConnectAsync(board.Through(relay), Cancellation);
        var outcome = await PushAsync(again, file, sha, root);
        outcome.Result.ShouldBe(PushResult.Resumed);
        outcome.BytesSent.ShouldBeLessThan(Size);
        TestFiles.Hash(Path.Combine(root, "store", sha)).ShouldBe(sha);
    }

    [Theory]
    [InlineData(Size / 3)]
    [InlineData(Size)]
    [InlineData(Size + 5)]
    public async Task A_corrupted_part_is_thrown_away(int partSize)
    {
        var (file, sha) = NewFile(5);
        var root = NewRoot();
        Directory.CreateDirectory(Path.Combine(root, "store"));
        TestFiles.Random(Path.Combine(root, "store", sha + ".part"), partSize, seed: 99);
        await using var shell = await ConnectAsync();
        await PushAsync(shell, file, sha, root);
        TestFiles.Hash(Path.Combine(root, "store", sha)).ShouldBe(sha);
    }

    [Fact]
    public async Task A_file_that_is_not_what_its_hash_says_is_never_put_in_place()
    {
        var (file, _) = NewFile(6);
        var other = new string('a', 64);
        var root = NewRoot();
        await using var shell = await ConnectAsync();
        var error = await Should.ThrowAsync<BoardStoreException>(PushAsync(shell, file, other, root));
        error.Message.ShouldContain("changed or is the wrong file");
        Directory.EnumerateFiles(Path.Combine(root, "store")).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_board_without_room_is_told_apart_before_anything_is_sent()
    {
        var file = Path.Combine(_local.FullName, "huge");
        await using (var huge = File.Create(file))
            huge.SetLength(MaxFileSize);
        var root = NewRoot();
        await using var shell = await ConnectAsync();
        var error = await Should.ThrowAsync<BoardStoreException>(PushAsync(shell, file, new string('b', 64), root));
        error.Message.ShouldContain("MiB free");
        Directory.EnumerateFiles(Path.Combine(root, "store")).ShouldBeEmpty();
    }

    [Fact]
    public async Task What_is_no_hash_never_becomes_a_path()
    {
        await using var shell = await ConnectAsync();
        var (file, _) = NewFile(7);
        await Should.ThrowAsync<ArgumentException>(PushAsync(shell, file, "../../etc/passwd", NewRoot()));
    }

    public void Dispose()
    {
        _local.Delete(recursive: true);
        GC.SuppressFinalize(this);
    }

    // ext4's largest file is 16 TiB.
    private const long MaxFileSize = 15L << 40;

    private static Task<PushOutcome> PushAsync(IRemoteShell shell, string file, string sha, string root) =>
        BoardStore.PushAsync(shell, file, sha, null, executable: false, root, Cancellation);

    private string NewRoot() => Path.Combine(board.NewFolder(), "root with 'blanks'");

    private (string File, string Sha) NewFile(int seed)
    {
        LocalBoard.SkipWithoutSshd();
        var file = TestFiles.Random(Path.Combine(_local.FullName, $"f{seed}"), Size, seed);
        return (file, TestFiles.Hash(file));
    }

    private async Task<IRemoteShell> ConnectAsync()
    {
        LocalBoard.SkipWithoutSshd();
        return await Factory.ConnectAsync(board.Settings, Cancellation);
    }

    private sealed class Last(Action<PushProgress> report) : IProgress<PushProgress>
    {
        public void Report(PushProgress value) => report(value);
    }
}
