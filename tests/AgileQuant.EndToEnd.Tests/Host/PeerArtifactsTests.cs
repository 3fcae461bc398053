using System.Net;
using AgileQuant.Host;
using AgileQuant.Host.Node;
using AgileQuant.Host.Peers;
using AgileQuant.Infra.Postgres;
using AgileQuant.Orchestrator;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

/// <summary>Two nodes with stores of their own on one database: what one has, the other gets, whole and verified.</summary>
public sealed class PeerArtifactsTests : IAsyncLifetime
{
    private readonly string _root = Path.Combine(Path.GetTempPath(), "agilequant-peers-" + Guid.NewGuid().ToString("N"));
    private TestDatabase _database = null!;
    private Side _owner = null!, _asker = null!;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(Ct);
        _owner = new Side(_root, "owner", _database.ConnectionString);
        _asker = new Side(_root, "asker", _database.ConnectionString);
        await Migrator.MigrateAsync(_owner.Database, Ct);
        await _owner.StartAsync(Ct);
        await _asker.StartAsync(Ct);
    }

    public async ValueTask DisposeAsync()
    {
        await _owner.DisposeAsync();
        await _asker.DisposeAsync();
        await _database.DisposeAsync();
        Directory.Delete(_root, true);
    }

    [Fact]
    public async Task What_another_node_has_is_fetched_once_and_verified()
    {
        var sha = await _owner.AddAsync(3_000_001);
        (await _asker.Fetcher.IsAvailableAsync(sha, Ct)).ShouldBeTrue();
        _asker.Store.Contains(sha).ShouldBeFalse("asking fetches nothing");

        var paths = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => _asker.Fetcher.PathAsync(sha, Ct)));
        paths.Distinct().ShouldHaveSingleItem().ShouldBe(_asker.Store.PathOf(sha));
        (await ArtifactStore.HashAsync(paths[0], Ct)).ShouldBe(sha);
        Directory.GetFiles(_asker.Store.Folder).ShouldHaveSingleItem("nothing unfinished stays behind");

        await _owner.Server.StopAsync(Ct);
        (await _asker.Fetcher.PathAsync(sha, Ct)).ShouldBe(paths[0], "it is ours now");
    }

    [Fact]
    public async Task A_download_goes_on_where_it_broke_off()
    {
        var sha = await _owner.AddAsync(2_000_000);
        var part = Path.Combine(_root, "part");
        var whole = await File.ReadAllBytesAsync(_owner.Store.PathOf(sha), Ct);
        await File.WriteAllBytesAsync(part, whole[..1_234_567], Ct);
        using var client = new PeerClient((await _asker.Nodes.PeersAsync(_asker.Node, Ct)).ShouldHaveSingleItem());
        await client.DownloadAsync(sha, part, Ct);
        (await ArtifactStore.HashAsync(part, Ct)).ShouldBe(sha);
        await client.DownloadAsync(sha, part, Ct);
        new FileInfo(part).Length.ShouldBe(whole.Length, "nothing was missing");
    }

    [Fact]
    public async Task A_file_with_another_content_is_refused()
    {
        var sha = await _owner.AddAsync(1000);
        await File.WriteAllBytesAsync(_owner.Store.PathOf(sha), new byte[1000], Ct);
        await Should.ThrowAsync<FileNotFoundException>(() => _asker.Fetcher.PathAsync(sha, Ct));
        Directory.GetFiles(_asker.Store.Folder).ShouldBeEmpty();
    }

    [Fact]
    public async Task What_no_node_has_names_the_node_it_came_from()
    {
        var sha = await _owner.AddAsync(10);
        await _owner.Database.ExecuteAsync("insert into artifact (sha256, kind, bytes) values (@sha, 'model', 10)", new { sha }, Ct);
        await _owner.Nodes.StopAsync(_owner.Node, Ct);
        (await _asker.Fetcher.IsAvailableAsync(sha, Ct)).ShouldBeFalse();
        var missing = await Should.ThrowAsync<FileNotFoundException>(() => _asker.Fetcher.PathAsync(sha, Ct));
        missing.FileName.ShouldBe(sha);
        missing.Message.ShouldContain("came from node owner: start that one");
    }

    [Theory]
    [InlineData("token")]
    [InlineData("certificate")]
    public async Task Strangers_get_nothing(string wrong)
    {
        var sha = await _owner.AddAsync(10);
        var peer = (await _asker.Nodes.PeersAsync(_asker.Node, Ct)).ShouldHaveSingleItem();
        using (var right = new PeerClient(peer))
            (await right.HasAsync(sha, Ct)).ShouldBeTrue();
        using var client = new PeerClient(new PeerRow
        {
            Url = peer.Url,
            Token = wrong == "token" ? new string('0', 64) : peer.Token,
            CertificateSha256 = wrong == "certificate" ? new string('0', 64) : peer.CertificateSha256,
        });
        (await client.HasAsync(sha, Ct)).ShouldBeFalse();
        await Should.ThrowAsync<HttpRequestException>(() => client.DownloadAsync(sha, Path.Combine(_root, "stolen"), Ct));
    }

    /// <summary>One node's store and server.</summary>
    private sealed class Side : IAsyncDisposable
    {
        public Side(string root, string name, string connectionString)
        {
            var options = new OrchestratorOptions { ConnectionString = connectionString, Home = Path.Combine(root, name), NodeName = name };
            Node = NodeIdentity.Create(name);
            Database = new Database(options);
            Nodes = new NodeStore(Database, options);
            Store = new ArtifactStore(options);
            Fetcher = new ArtifactFetcher(Store, Nodes, Database, Node, NullLogger<ArtifactFetcher>.Instance);
            var settings = new NodeSettings(new BenchHome(options.Home), false, 0, connectionString, name);
            Server = new PeerServer(settings, IPAddress.Loopback, Store, Registration);
        }

        public NodeIdentity Node { get; }

        public Database Database { get; }

        public NodeStore Nodes { get; }

        public ArtifactStore Store { get; }

        public ArtifactFetcher Fetcher { get; }

        public PeerServer Server { get; }

        private PeerRegistration Registration { get; } = new();

        public async Task StartAsync(CancellationToken ct)
        {
            await Server.StartAsync(ct);
            await Nodes.StartAsync(Node, new NodeDescription("test", "test", Registration.Endpoint), ct);
        }

        public async Task<string> AddAsync(int bytes)
        {
            var file = Store.NewTemporaryFile();
            var content = new byte[bytes];
            new Random(bytes).NextBytes(content);
            await File.WriteAllBytesAsync(file, content, Ct);
            return (await Store.AdoptAsync(file, Ct)).Sha256;
        }

        public async ValueTask DisposeAsync()
        {
            await Server.StopAsync(CancellationToken.None);
            await Server.DisposeAsync();
            await Database.DisposeAsync();
        }
    }
}
