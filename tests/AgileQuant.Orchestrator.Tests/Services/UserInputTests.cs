using AgileQuant.Agent.OpenSsh;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Storage;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Services;

public sealed class UserInputTests : IAsyncLifetime
{
    private static readonly string Home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
    private static readonly string Key = "SHA256:" + new string('k', 43);
    private TestStore? _store;

    private TestStore Store => _store!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _store = await TestStore.CreateAsync();

    public ValueTask DisposeAsync() => Store.DisposeAsync();

    private AssetService Assets() => new(new AssetStore(Store.Database), new ArtifactStore(Store.Options));

    private async Task<DeviceService> DevicesAsync()
    {
        var node = await Store.AddNodeAsync();
        return new DeviceService(
            Store.Database, new DeviceStore(Store.Database, node), new MatrixStore(Store.Database), new TelemetryStore(Store.Database),
            new OpenSshShellFactory(), Store.Leases(node));
    }

    private static Task<T> RefusedAsync<T>(Func<Task> act) where T : Exception => Should.ThrowAsync<T>(act);

    [Fact]
    public async Task A_leading_tilde_is_the_home_folder_of_the_nodes_user()
    {
        var missing = Guid.NewGuid().ToString("N");
        var expanded = Path.Combine(Home, missing);
        (await RefusedAsync<UserErrorException>(() => Assets().ImportDatasetAsync("~/" + missing, "text", ct: Ct))).Message.ShouldContain(expanded);
        (await RefusedAsync<UserErrorException>(() => Assets().ImportModelAsync("~/" + missing, "model", ct: Ct))).Message.ShouldContain(expanded);
        var devices = await DevicesAsync();
        (await RefusedAsync<UserErrorException>(() => devices.AddAsync(new AddDeviceRequest("board", "a@b", Key, "~/" + missing), Ct)))
            .Message.ShouldContain(expanded);
    }

    [Fact]
    public async Task A_random_model_that_the_disk_has_no_room_for_is_refused_before_it_is_written()
    {
        var full = new AssetService(new AssetStore(Store.Database), new ArtifactStore(Store.Options), () => 1L << 30);
        var shapes = await full.ListRandomShapesAsync(Ct);
        shapes.Select(s => s.Name).ShouldBe(Engine.RandomModelShape.Presets.Keys, ignoreOrder: true);
        shapes.Select(s => s.FileBytes).ShouldBeInOrder();
        shapes.ShouldAllBe(s => s.MemoryBytes > s.FileBytes && s.FileBytes > 2 * s.Parameters);
        shapes.Single(s => s.Name == "demo-150m").Problem.ShouldBeNull();
        var problem = shapes.Single(s => s.Name == "tinyllama-1.1b").Problem.ShouldNotBeNull();
        problem.ShouldContain("needs 2.0 GiB of disk");
        problem.ShouldContain(Store.Options.StoreFolder);
        (await RefusedAsync<UserErrorException>(() => full.CreateRandomModelAsync("tinyllama-1.1b", "large", 1, ct: Ct))).Message.ShouldBe(problem + ".");
        Directory.GetFiles(Store.Options.StoreFolder).ShouldBeEmpty();

        var free = new ArtifactStore(Store.Options).FreeBytes;
        free.ShouldBeGreaterThan(0);
        (await full.CreateRandomModelAsync("tiny-3m", "small", 1, ct: Ct)).Bytes.ShouldBe(shapes[0].FileBytes);
    }

    [Theory]
    [InlineData(100, 0, true)]
    [InlineData(100, -1, false)]
    public void A_file_fits_when_the_reserve_stays_free_beside_it(long needed, long more, bool fits) =>
        (AgileQuant.Orchestrator.Domain.DiskRoom.Problem("It", needed, needed + AgileQuant.Orchestrator.Domain.DiskRoom.Reserve + more, "/store") is null).ShouldBe(fits);

    [Fact]
    public async Task One_board_cannot_be_two_devices_at_a_time()
    {
        var devices = await DevicesAsync();
        await devices.AddAsync(new AddDeviceRequest("first", "a@b:22", Key), Ct);
        (await RefusedAsync<UserErrorException>(() => devices.AddAsync(new AddDeviceRequest("second", "a@b", Key), Ct))).Message.ShouldContain("'first'");
        await devices.AddAsync(new AddDeviceRequest("other-account", "c@b", Key), Ct);
        await devices.RemoveAsync("first", false, Ct);
        await devices.AddAsync(new AddDeviceRequest("second", "a@b", Key), Ct);
    }

    [Fact]
    public async Task A_store_that_cannot_be_written_is_explained()
    {
        var assets = Assets();
        var text = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(text, "some text", Ct);
            Directory.Delete(Store.Options.StoreFolder, true);
            var refused = await RefusedAsync<UserErrorException>(() => assets.ImportDatasetAsync(text, "text", ct: Ct));
            refused.Message.ShouldContain("'text' could not be stored");
            refused.InnerException.ShouldBeAssignableTo<IOException>();
        }
        finally
        {
            File.Delete(text);
        }
    }

    [Fact]
    public async Task A_program_that_is_no_engine_is_refused()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs /bin/ls");
        var refused = await RefusedAsync<UserErrorException>(() => Assets().AddEngineAsync("/bin/ls", Ct));
        refused.Message.ShouldContain("no engine");
    }
}
