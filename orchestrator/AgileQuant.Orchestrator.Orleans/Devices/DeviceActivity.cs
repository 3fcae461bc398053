using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>What a driver does now, from the rows it writes.</summary>
internal sealed class DeviceActivity(Database database, LeaseStore leases)
{
    public async Task<Row> ReadAsync(Guid device, CancellationToken ct) =>
        await database.FirstAsync<Row>(
            """
            select n.id as node_id, n.name as node, d.epoch,
                case when a.id is not null then format('%s job %s, attempt %s, %s%%', j.kind, a.state, a.number, round(a.progress * 100))
                    else d.state || coalesce(': ' || d.state_reason, '') end as doing,
                coalesce(a.started_at, d.last_seen_at) as since
            from device d
            left join node n on n.id = d.lease_node and d.lease_until > clock_timestamp()
            left join attempt a on a.device_id = d.id and a.state in ('starting', 'running')
            left join job j on j.id = a.job_id
            where d.id = @device
            """,
            new { device }, ct) ?? new Row { Doing = "no such device" };

    /// <summary>Whether it needs a driver and has none.</summary>
    public Task<bool> IsWantedAsync(Guid device, CancellationToken ct) => leases.IsFreeAsync(device, ct);

    internal sealed class Row
    {
        public Guid? NodeId { get; init; }
        public string? Node { get; init; }
        public long Epoch { get; init; }
        public string Doing { get; init; } = "";
        public DateTimeOffset? Since { get; init; }
    }
}
