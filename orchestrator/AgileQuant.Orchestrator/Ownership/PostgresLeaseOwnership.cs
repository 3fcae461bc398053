using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Ownership;

/// <summary>Ownership by lease columns on the device row; needs no other package than Npgsql.</summary>
public sealed class PostgresLeaseOwnership(Database database, NodeIdentity node, OrchestratorOptions options) : IDeviceOwnership
{
    /// <summary>
    /// A device needs a driver: a wish that is not fulfilled, an attempt to look after, a job that may start, or nobody has seen
    /// it for long. An unreachable device waits until its next try.
    /// </summary>
    private const string Needed = """
        d.state <> 'retired' and (
            d.desired_state = 'retired'
            or d.check_requested > d.check_done and (d.retry_at is null or d.retry_at <= clock_timestamp())
            or (d.retry_at is null or d.retry_at <= clock_timestamp()) and (
                d.adopt_requested
                or d.state in ('busy', 'cooling', 'offline')
                or exists (select 1 from attempt a where a.device_id = d.id and a.state in ('starting', 'running'))
                or d.state = 'ready' and (
                    d.quarantine is not null
                    or d.last_seen_at is null or d.last_seen_at < clock_timestamp() - @visit
                    or d.engine_sha256 is distinct from (select e.sha256 from engine e where e.current and e.target = d.facts ->> 'target')
                    or exists (select 1 from job j where j.device_id = d.id and j.state = 'waiting' and j.not_before <= clock_timestamp()))))
        """;

    private const string AcquireSql = $"""
        with live as (
            select greatest(1, count(*)) as nodes from node where stopped_at is null and last_seen_at > clock_timestamp() - @lease
        ), wanted as (
            select count(*) as devices from device d
            where d.lease_node is not null and d.lease_until > clock_timestamp() or ({Needed})
        ), free as (
            select d.id from device d
            where (d.lease_node is null or d.lease_until < clock_timestamp()) and ({Needed})
            order by d.last_seen_at nulls first
            limit greatest(0, least(@most, (select ceil(wanted.devices::numeric / live.nodes) from wanted, live)) - @held)
            for update of d skip locked
        )
        update device set lease_node = @node, lease_until = clock_timestamp() + @lease, epoch = nextval('lease_epoch')
        from free where device.id = free.id
        returning device.id as device_id, device.epoch, device.lease_until as until
        """;

    public string Name => "Postgres leases";

    public async Task<IReadOnlyList<DeviceLease>> AcquireAsync(int held, CancellationToken ct = default) =>
        Leases(await database.QueryAsync<Row>(
            AcquireSql,
            new { node = node.Id, lease = options.Lease, most = options.MaxDevices, held, visit = options.VisitInterval }, ct));

    public async Task<IReadOnlyList<DeviceLease>> RenewAsync(IReadOnlyCollection<DeviceLease> leases, CancellationToken ct = default)
    {
        if (leases.Count == 0)
            return [];
        return Leases(await database.QueryAsync<Row>(
            """
            update device d set lease_until = clock_timestamp() + @lease
            from unnest(@ids, @epochs) as held (id, epoch)
            where d.id = held.id and d.epoch = held.epoch and d.lease_node = @node
            returning d.id as device_id, d.epoch, d.lease_until as until
            """,
            new
            {
                node = node.Id,
                lease = options.Lease,
                ids = leases.Select(l => l.DeviceId).ToArray(),
                epochs = leases.Select(l => l.Epoch).ToArray(),
            },
            ct));
    }

    public Task ReleaseAsync(DeviceLease lease, CancellationToken ct = default) =>
        database.ExecuteAsync(
            "update device set lease_node = null, lease_until = null where id = @DeviceId and epoch = @Epoch and lease_node = @node",
            new { lease.DeviceId, lease.Epoch, node = node.Id }, ct);

    private static List<DeviceLease> Leases(IEnumerable<Row> rows) => [.. rows.Select(r => new DeviceLease(r.DeviceId, r.Epoch, r.Until))];

    private sealed class Row
    {
        public Guid DeviceId { get; init; }
        public long Epoch { get; init; }
        public DateTimeOffset Until { get; init; }
    }
}
