using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Ownership;

/// <summary>A live node's part of the devices that have, or need, a driver.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Held">Devices whose live leases it has.</param>
/// <param name="Share">Devices it should have. The shares of all live nodes add up to the devices in question and differ by one at most.</param>
public sealed record FairShare(Guid NodeId, long Held, long Share);

/// <summary>
/// The lease columns of the device rows: the only truth about who drives what, for every implementation of ownership. A lease is
/// taken with a new epoch; only its expiry uses the clock, and that is the database's.
/// </summary>
public sealed class LeaseStore(Database database, NodeIdentity node, OrchestratorOptions options)
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

    private const string Free = $"(d.lease_node is null or d.lease_until < clock_timestamp()) and ({Needed})";

    /// <summary>
    /// Nodes with the most devices come first, so that one that has one more than others keeps it: nothing wanders to and fro. Of
    /// those with the fewest, whoever asks first may take the odd one (most).
    /// </summary>
    private const string Shares = $"""
        held as (
            select d.lease_node as node_id, count(*) as devices from device d where d.lease_until > clock_timestamp() group by d.lease_node
        ), wanted as (
            select count(*) as devices from device d where d.lease_node is not null and d.lease_until > clock_timestamp() or ({Needed})
        ), ranked as (
            select n.id as node_id, coalesce(h.devices, 0) as held, count(*) over () as nodes,
                row_number() over (order by coalesce(h.devices, 0) desc, n.id) - 1 as place
            from live_node n left join held h on h.node_id = n.id
        ), share as (
            select r.node_id, r.held, w.devices / r.nodes + (r.place < w.devices % r.nodes)::int as share,
                case when r.held = min(r.held) over () then (w.devices + r.nodes - 1) / r.nodes else 0 end as most
            from ranked r, wanted w
        )
        """;

    private const string Take = """
        update device set lease_node = @node, lease_until = clock_timestamp() + @lease, epoch = nextval('lease_epoch')
        from free where device.id = free.id
        returning device.id as device_id, device.epoch, device.lease_until as until
        """;

    private Dapper.DynamicParameters Settings(object? more = null)
    {
        var parameters = new Dapper.DynamicParameters(more);
        parameters.AddDynamicParams(new { node = node.Id, lease = options.Lease, visit = options.VisitInterval });
        return parameters;
    }

    /// <summary>Devices that need a driver and have no live lease, the longest unseen first.</summary>
    public Task<List<Guid>> FreeAsync(int most, CancellationToken ct) =>
        database.QueryAsync<Guid>($"select d.id from device d where {Free} order by d.last_seen_at nulls first limit @most", Settings(new { most }), ct);

    /// <summary>Takes free devices up to this node's fair share and up to <paramref name="most"/>.</summary>
    public async Task<IReadOnlyList<DeviceLease>> TakeShareAsync(int most, CancellationToken ct) =>
        Leases(await database.QueryAsync<Row>(
            $"""
            with {Shares}, free as (
                select d.id from device d where {Free}
                order by d.last_seen_at nulls first
                limit greatest(0, least(@most, (select greatest(share, most) - held from share where node_id = @node)))
                for update of d skip locked
            )
            {Take}
            """,
            Settings(new { most }), ct));

    /// <summary>Takes one device whatever the shares; null when it needs no driver or another lease of it is alive.</summary>
    public async Task<DeviceLease?> TakeAsync(Guid device, CancellationToken ct) =>
        Leases(await database.QueryAsync<Row>(
            $"with free as (select d.id from device d where d.id = @device and {Free} for update of d skip locked) {Take}",
            Settings(new { device }), ct)).FirstOrDefault();

    /// <summary>Takes one device as long as this node has less than its fair share; null as with <see cref="TakeAsync"/>, or the share is had.</summary>
    public async Task<DeviceLease?> TakeWithinShareAsync(Guid device, CancellationToken ct) =>
        Leases(await database.QueryAsync<Row>(
            $"""
            with {Shares}, free as (
                select d.id from device d
                where d.id = @device and {Free} and exists (
                    select 1 from share where node_id = @node and held < greatest(share, most))
                for update of d skip locked
            )
            {Take}
            """,
            Settings(new { device }), ct)).FirstOrDefault();

    /// <summary>Whether a device needs a driver and has no live lease.</summary>
    public Task<bool> IsFreeAsync(Guid device, CancellationToken ct) =>
        database.FirstAsync<bool>($"select exists (select 1 from device d where d.id = @device and {Free})", Settings(new { device }), ct);

    /// <summary>The fair shares of all live nodes, those with the most room first.</summary>
    public Task<List<FairShare>> SharesAsync(CancellationToken ct) =>
        database.QueryAsync<FairShare>(
            $"with {Shares} select node_id, held, greatest(share, most)::bigint as share from share order by share - held desc, node_id", Settings(), ct);

    /// <summary>Renews what is still this node's; a lease that is missing in the answer is lost.</summary>
    public async Task<IReadOnlyList<DeviceLease>> RenewAsync(IReadOnlyCollection<DeviceLease> leases, CancellationToken ct)
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
            Settings(new { ids = leases.Select(l => l.DeviceId).ToArray(), epochs = leases.Select(l => l.Epoch).ToArray() }), ct));
    }

    /// <summary>Ends a lease; nothing happens when it is lost already.</summary>
    public Task ReleaseAsync(DeviceLease lease, CancellationToken ct) =>
        database.ExecuteAsync(
            "update device set lease_node = null, lease_until = null where id = @DeviceId and epoch = @Epoch and lease_node = @node",
            new { lease.DeviceId, lease.Epoch, node = node.Id }, ct);

    /// <summary>
    /// Which of this node's leases to give up for the fair share of others: as many as it has too many, those first whose devices
    /// run nothing, then those whose attempts began last.
    /// </summary>
    public Task<List<Guid>> SurplusAsync(CancellationToken ct) =>
        database.QueryAsync<Guid>(
            $"""
            with {Shares}
            select d.id from device d left join attempt a on a.device_id = d.id and a.state in ('starting', 'running')
            where d.lease_node = @node and d.lease_until > clock_timestamp()
            order by a.id is not null, a.id desc, d.id
            limit greatest(0, (select held - share from share where node_id = @node))
            """,
            Settings(), ct);

    private static List<DeviceLease> Leases(IEnumerable<Row> rows) => [.. rows.Select(r => new DeviceLease(r.DeviceId, r.Epoch, r.Until))];

    private sealed class Row
    {
        public Guid DeviceId { get; init; }
        public long Epoch { get; init; }
        public DateTimeOffset Until { get; init; }
    }
}
