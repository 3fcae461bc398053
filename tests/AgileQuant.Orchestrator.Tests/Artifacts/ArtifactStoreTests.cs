using AgileQuant.Orchestrator.Artifacts;

namespace AgileQuant.Orchestrator.Tests.Artifacts;

public sealed class ArtifactStoreTests : IDisposable
{
    private readonly OrchestratorOptions _options = new()
    {
        ConnectionString = "",
        Home = Path.Combine(Path.GetTempPath(), "bench-test-" + Guid.NewGuid().ToString("N")),
    };

    public void Dispose() => Directory.Delete(_options.Home, true);

    [Fact]
    public void Its_folders_are_for_this_user_only()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no such rights");
        _ = new ArtifactStore(_options);
        const UnixFileMode owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        if (!OperatingSystem.IsWindows())
        {
            File.GetUnixFileMode(_options.StoreFolder).ShouldBe(owner);
            File.GetUnixFileMode(_options.ScratchFolder).ShouldBe(owner);
        }
    }

    [Fact]
    public void A_missing_file_is_named_with_its_store_its_origin_and_what_to_do()
    {
        var store = new ArtifactStore(_options);
        var sha = new string('a', 64);
        var missing = ArtifactStore.Missing(sha, store.Folder, "lab-2");
        missing.FileName.ShouldBe(sha);
        missing.Message.ShouldContain(store.Folder);
        missing.Message.ShouldContain("came from node lab-2: start that one");
    }

    [Fact]
    public async Task A_file_is_kept_once_under_its_hash()
    {
        var store = new ArtifactStore(_options);
        var shas = new List<string>();
        for (var i = 0; i < 2; i++)
        {
            var file = store.NewTemporaryFile();
            await File.WriteAllTextAsync(file, "abc", TestContext.Current.CancellationToken);
            shas.Add((await store.AdoptAsync(file, TestContext.Current.CancellationToken)).Sha256);
        }

        shas.ShouldAllBe(s => s == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        Directory.GetFiles(store.Folder).ShouldHaveSingleItem();
    }
}
