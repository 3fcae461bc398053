namespace AgileQuant.Infra.Postgres;

/// <summary>
/// An empty database for one test or test class. All of a process share one disposable cluster, which is gone when
/// the process ends.
/// </summary>
public sealed class TestDatabase : IAsyncDisposable
{
    private static readonly SemaphoreSlim Turn = new(1, 1);
    private static EmbeddedPostgres? _cluster;

    private readonly EmbeddedPostgres _owner;
    private readonly string _name;

    private TestDatabase(EmbeddedPostgres owner, string name, string connectionString)
    {
        _owner = owner;
        _name = name;
        ConnectionString = connectionString;
    }

    public string ConnectionString { get; }

    /// <exception cref="EmbeddedPostgresException">There are no Postgres programs on this machine.</exception>
    public static async Task<TestDatabase> CreateAsync(CancellationToken cancellation = default)
    {
        var cluster = await ClusterAsync(cancellation);
        var name = "test_" + Guid.NewGuid().ToString("N");
        return new TestDatabase(cluster, name, await cluster.CreateDatabaseAsync(name, cancellation));
    }

    public async ValueTask DisposeAsync() => await _owner.DropDatabaseAsync(_name);

    private static async Task<EmbeddedPostgres> ClusterAsync(CancellationToken cancellation)
    {
        await Turn.WaitAsync(cancellation);
        try
        {
            var folder = Path.Combine(Path.GetTempPath(), $"agilequant-test-pg-{Environment.ProcessId}-{Guid.NewGuid():N}");
            return _cluster ??= await EmbeddedPostgres.StartAsync(
                folder, new EmbeddedPostgresOptions { Durable = false, Disposable = true }, cancellation);
        }
        finally
        {
            Turn.Release();
        }
    }
}
