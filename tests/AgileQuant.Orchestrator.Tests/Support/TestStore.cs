using AgileQuant.Infra.Postgres;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>A fresh, migrated database with the stores of any number of nodes on it.</summary>
internal sealed class TestStore : IAsyncDisposable
{
    private readonly TestDatabase _database;
    private readonly List<Database> _open = [];

    private TestStore(TestDatabase database)
    {
        _database = database;
        Options = new OrchestratorOptions { ConnectionString = database.ConnectionString, Home = Path.Combine(Path.GetTempPath(), "bench-test-" + Guid.NewGuid().ToString("N")) };
        Database = Open(Options);
    }

    public OrchestratorOptions Options { get; }

    public Database Database { get; }

    public string ConnectionString => _database.ConnectionString;

    public static CancellationToken Ct => TestContext.Current.CancellationToken;

    public static async Task<TestStore> CreateAsync()
    {
        var store = new TestStore(await TestDatabase.CreateAsync(Ct));
        await Migrator.MigrateAsync(store.Database, Ct);
        return store;
    }

    /// <summary>A node's row and identity, without a process.</summary>
    public async Task<NodeIdentity> AddNodeAsync(string name = "node")
    {
        var node = NodeIdentity.Create(name);
        await new NodeStore(Database, Options).StartAsync(node, new NodeDescription("test", "test", null), Ct);
        return node;
    }

    /// <summary>The leases as a node sees them.</summary>
    public PostgresLeaseOwnership Leases(NodeIdentity node) => new(new LeaseStore(Database, node, Options), Options);

    public async Task<Guid> AddDeviceAsync(string name = "board", string state = "ready", string kind = "real")
    {
        var id = Guid.CreateVersion7();
        await Database.ExecuteAsync(
            """
            insert into device (id, name, address, kind, host_key, state, check_done, last_seen_at)
            values (@id, @name, 'a@b', @kind, 'SHA256:x', @state, 1, clock_timestamp())
            """,
            new { id, name, kind, state }, Ct);
        return id;
    }

    public Task<T?> ScalarAsync<T>(string sql, object? parameters = null) => Database.FirstAsync<T>(sql, parameters, Ct);

    public Task ExecuteAsync(string sql, object? parameters = null) => Database.ExecuteAsync(sql, parameters, Ct);

    public async ValueTask DisposeAsync()
    {
        foreach (var database in _open)
            await database.DisposeAsync();
        await _database.DisposeAsync();
        if (Directory.Exists(Options.Home))
            Directory.Delete(Options.Home, true);
    }

    private Database Open(OrchestratorOptions options)
    {
        var database = new Database(options);
        _open.Add(database);
        return database;
    }
}
