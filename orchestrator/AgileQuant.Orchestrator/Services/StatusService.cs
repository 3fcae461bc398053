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
            select n.id, n.name, n.host, n.version, n.ownership, n.transport, n.peer_url, n.started_at, n.last_seen_at,
                n.id in (select id from live_node) as alive,
                array(select d.name from device d where d.lease_node = n.id and d.lease_until > clock_timestamp() order by d.name) as devices,
                array(
                    select case j.kind when 'pack' then format('packing %s %s', m.name, p.precision)
                        when 'tokens' then format('tokenizing %s for %s', t.dataset, t.model)
                        else format('scoring %s %s', sm.name, sp.precision) end
                    from node_job j
                    left join pack p on j.kind = 'pack' and p.id = j.subject_id left join model m on m.id = p.model_id
                    left join (select f.id, x.name as model, y.name as dataset from token_file f join model x on x.id = f.model_id
                        join dataset y on y.id = f.dataset_id) t on j.kind = 'tokens' and t.id = j.subject_id
                    left join score s on j.kind = 'score' and s.id = j.subject_id left join pack sp on sp.id = s.pack_id
                    left join model sm on sm.id = sp.model_id
                    where j.lease_node = n.id and j.state = 'running' and j.lease_until > clock_timestamp() order by j.started_at) as work
            from node n where n.last_seen_at > clock_timestamp() - @shown order by alive desc, n.started_at desc limit 50
            """,
            new { shown = Shown }, ct);
        return new StatusView(
            options.Version, await database.ClusterIdAsync(ct), ownership.Name, shells.Transport, options.BuiltIn, options.DatabaseDescription,
            [.. rows.Select(r => new NodeView(
                r.Id, r.Name, r.Host, r.Version, r.Ownership, r.Transport, r.PeerUrl, r.StartedAt, r.LastSeenAt, r.Alive, r.Devices, r.Work))]);
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
        public string[] Work { get; init; } = [];
        public string Host { get; init; } = "";
        public string Ownership { get; init; } = "";
        public string Transport { get; init; } = "";
        public string? PeerUrl { get; init; }
    }
}
