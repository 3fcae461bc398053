using AgileQuant.Agent;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Services;

/// <inheritdoc cref="IStatusService"/>
public sealed class StatusService(Database database, IDeviceOwnership ownership, IRemoteShellFactory shells, OrchestratorOptions options) : IStatusService
{
    /// <summary>Nodes that stopped longer ago are not shown.</summary>
    private static readonly TimeSpan Shown = TimeSpan.FromHours(1);

    public async Task<StatusView> GetAsync(CancellationToken ct = default)
    {
        var rows = await database.QueryAsync<Row>(
            """
            select n.id, n.name, n.version, n.started_at, n.last_seen_at,
                n.stopped_at is null and n.last_seen_at > clock_timestamp() - @lease as alive,
                array(select d.name from device d where d.lease_node = n.id and d.lease_until > clock_timestamp() order by d.name) as devices
            from node n where n.last_seen_at > clock_timestamp() - @shown order by alive desc, n.started_at desc limit 50
            """,
            new { lease = options.Lease, shown = Shown }, ct);
        return new StatusView(
            options.Version, await database.ClusterIdAsync(ct), ownership.Name, shells.Transport, options.BuiltIn, options.DatabaseDescription,
            [.. rows.Select(r => new NodeView(r.Id, r.Name, r.Version, r.StartedAt, r.LastSeenAt, r.Alive, r.Devices))]);
    }

    private sealed class Row
    {
        public Guid Id { get; init; }
        public string Name { get; init; } = "";
        public string Version { get; init; } = "";
        public DateTimeOffset StartedAt { get; init; }
        public DateTimeOffset LastSeenAt { get; init; }
        public bool Alive { get; init; }
        public string[] Devices { get; init; } = [];
    }
}
