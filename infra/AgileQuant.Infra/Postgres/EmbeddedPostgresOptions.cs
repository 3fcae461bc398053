namespace AgileQuant.Infra.Postgres;

/// <summary>How a private Postgres cluster is started and what becomes of it.</summary>
public sealed record EmbeddedPostgresOptions
{
    /// <summary>Leave the cluster running when the <see cref="EmbeddedPostgres"/> is disposed.</summary>
    public bool LeaveRunning { get; init; }

    /// <summary>
    /// Write safely through to disk (the default). Tests turn it off: a power cut may then lose the cluster.
    /// </summary>
    public bool Durable { get; init; } = true;

    /// <summary>
    /// Stop the cluster and delete its whole folder as soon as this process ends, however it ends (kill -9
    /// included). For tests.
    /// </summary>
    public bool Disposable { get; init; }

    /// <summary>The database that <see cref="EmbeddedPostgres.ConnectionString"/> names; created when missing.</summary>
    public string Database { get; init; } = "agilequant";

    /// <summary>
    /// The account Postgres runs as when this process is root (Postgres refuses root). Otherwise it runs as the
    /// user of this process.
    /// </summary>
    public string AccountForRoot { get; init; } = "postgres";

    /// <summary>A folder with <c>initdb</c>, <c>pg_ctl</c> and <c>postgres</c>; null: look for the newest.</summary>
    public string? BinaryFolder { get; init; }

    /// <summary>The longest wait for one step (initdb, start, stop).</summary>
    public TimeSpan StepTimeout { get; init; } = TimeSpan.FromSeconds(90);
}
