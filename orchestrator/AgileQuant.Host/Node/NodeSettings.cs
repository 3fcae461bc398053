using System.Net;

namespace AgileQuant.Host.Node;

/// <summary>How a node is started.</summary>
/// <param name="Home">Its state folder.</param>
/// <param name="Dashboard">False: no dashboard; programs of this machine reach the node by the Unix socket.</param>
/// <param name="Port">TCP port of the dashboard on 127.0.0.1; the next free one is taken when it is in use.</param>
/// <param name="Database">Npgsql connection string; null: the embedded Postgres of this home.</param>
/// <param name="Name">Shown to people.</param>
public sealed record NodeSettings(BenchHome Home, bool Dashboard, int Port, string? Database, string Name)
{
    public const int DefaultPort = 8580;

    /// <summary>How many ports are tried, from <see cref="Port"/> on.</summary>
    public const int PortsTried = 50;

    /// <summary>How long boards stay with a node that does not answer.</summary>
    public TimeSpan Lease { get; init; } = DefaultLease;

    public static TimeSpan DefaultLease { get; } = TimeSpan.FromSeconds(15);

    /// <summary>Shorter ones would be lost by a busy machine; longer ones leave boards idle after a failure.</summary>
    public static (TimeSpan Least, TimeSpan Most) LeaseBounds { get; } = (TimeSpan.FromSeconds(2), TimeSpan.FromMinutes(10));

    /// <summary>Address (and port, 0: any) where other nodes reach this one; null: chosen by the way to the database.</summary>
    public IPEndPoint? Listen { get; init; }

    /// <summary>Key of the transport to reach boards with; null: the default of <see cref="Transports"/>.</summary>
    public string? Transport { get; init; }

    /// <summary>Key of the way to share boards with other nodes; null: the default of <see cref="Clusters"/>.</summary>
    public string? Cluster { get; init; }

    /// <summary>The same settings for a process of this program: no arguments, because a connection string may hold a password.</summary>
    public IReadOnlyDictionary<string, string> ToEnvironment()
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["BENCH_HOME"] = Home.Folder,
            [LeaseVariable] = Lease.TotalSeconds.ToString(System.Globalization.CultureInfo.InvariantCulture),
        };
        if (Database is not null)
            variables[DatabaseVariable] = Database;
        if (Listen is not null)
            variables[ListenVariable] = Listen.ToString();
        if (Transport is not null)
            variables[Transports.Variable] = Transport;
        if (Cluster is not null)
            variables[Clusters.Variable] = Cluster;
        return variables;
    }

    public const string DatabaseVariable = "BENCH_DATABASE";
    public const string LeaseVariable = "BENCH_LEASE";
    public const string ListenVariable = "BENCH_LISTEN";
}

/// <summary>What a running node tells local clients (<c>run/node.json</c>).</summary>
/// <param name="DashboardUrl">Null for a headless node.</param>
/// <param name="Database">How another node on this machine reaches the same database; null when it was given by connection string.</param>
public sealed record NodeInfo(int Pid, string Version, string? DashboardUrl, DateTimeOffset StartedAt, string? Database = null);
