namespace AgileQuant.Orchestrator;

/// <summary>How one node of the orchestrator runs.</summary>
public sealed record OrchestratorOptions
{
    /// <summary>Npgsql connection string of the cluster's database.</summary>
    public required string ConnectionString { get; init; }

    /// <summary>The node's own folder (<c>BENCH_HOME</c>): artifact store and scratch space.</summary>
    public required string Home { get; init; }

    /// <summary>Shown to people; unique ids are made at each start.</summary>
    public string NodeName { get; init; } = Environment.MachineName;

    public string Version { get; init; } = typeof(OrchestratorOptions).Assembly.GetName().Version?.ToString(3) ?? "0.0.0";

    /// <summary>False: application services only; no devices are driven and no packs are made by this process.</summary>
    public bool RunNode { get; init; } = true;

    /// <summary>A node that does not renew a lease for this long loses the device.</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Longest wait between two looks for work when no notification comes.</summary>
    public TimeSpan PollInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A driver without work keeps its connection for this long before it gives the device back.</summary>
    public TimeSpan IdleLinger { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A ready device that nobody has reached for this long is visited.</summary>
    public TimeSpan VisitInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Devices that one node drives at most.</summary>
    public int MaxDevices { get; init; } = 200;

    /// <summary>Pack, tokenize and score jobs at a time on this node.</summary>
    public int NodeWorkers { get; init; } = 1;

    /// <summary>
    /// Longest time for one pack, calibration included: GPTQ of a model of a billion parameters takes tens of minutes on two cores,
    /// and more on a slow node.
    /// </summary>
    public TimeSpan PackTimeLimit { get; init; } = TimeSpan.FromHours(12);

    /// <summary>Threads for scoring on this node; 0: all cores.</summary>
    public int ScoreThreads { get; init; }

    /// <summary>First wait before an unreachable board is tried again; doubled each time up to <see cref="RetryMax"/>.</summary>
    public TimeSpan RetryFirst { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Longest wait before an unreachable board is tried again.</summary>
    public TimeSpan RetryMax { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>A job waits at most this long for a device that is offline, then it ends as failed with the device's reason.</summary>
    public TimeSpan OfflineJobWait { get; init; } = TimeSpan.FromHours(24);

    /// <summary>How the status page names the database.</summary>
    public string DatabaseDescription { get; init; } = "Postgres";

    /// <summary>Optional parts that were built in, for the status page.</summary>
    public IReadOnlyList<string> BuiltIn { get; init; } = [];

    /// <summary>The content-addressed artifact store.</summary>
    public string StoreFolder => Path.Combine(Home, "store");

    /// <summary>What measurements of the product itself leave: <c>engine-&lt;isa&gt;.json</c>.</summary>
    public string PerfFolder => Path.Combine(Home, "perf");

    /// <summary>Scratch space; safe to delete while no node runs.</summary>
    public string ScratchFolder => Path.Combine(Home, "scratch");
}
