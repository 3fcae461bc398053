namespace AgileQuant.Host.Node;

/// <summary>How a node is started.</summary>
/// <param name="Home">Its state folder.</param>
/// <param name="Dashboard">False: no TCP port at all, the Unix socket only.</param>
/// <param name="Port">TCP port of the dashboard on 127.0.0.1; the next free one is taken when it is in use.</param>
/// <param name="Database">Npgsql connection string; null: the embedded Postgres of this home.</param>
/// <param name="Name">Shown to people.</param>
public sealed record NodeSettings(BenchHome Home, bool Dashboard, int Port, string? Database, string Name)
{
    public const int DefaultPort = 8580;

    /// <summary>How many ports are tried, from <see cref="Port"/> on.</summary>
    public const int PortsTried = 50;
}

/// <summary>What a running node tells local clients (<c>run/node.json</c>).</summary>
/// <param name="DashboardUrl">Null for a headless node.</param>
public sealed record NodeInfo(int Pid, string Version, string? DashboardUrl, DateTimeOffset StartedAt);
