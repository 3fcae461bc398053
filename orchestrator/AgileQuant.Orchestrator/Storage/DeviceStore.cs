using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>A device row.</summary>
public sealed class DeviceRow
{
    public Guid Id { get; init; }
    public string Name { get; init; } = "";
    public string Address { get; init; } = "";
    public string Kind { get; init; } = "";
    public string HostKey { get; init; } = "";
    public string? IdentityFile { get; init; }
    public string State { get; init; } = "";
    public string? StateReason { get; init; }
    public string DesiredState { get; init; } = "";
    public long CheckRequested { get; init; }
    public long CheckDone { get; init; }
    public bool AdoptRequested { get; init; }
    public string? Quarantine { get; init; }
    public int Failures { get; init; }
    public string? Owner { get; init; }
    public long Epoch { get; init; }
    public string? BootId { get; init; }
    public double? IdleCelsius { get; init; }
    public long? BestLoopNs { get; init; }
    public string? Facts { get; init; }
    public string? Selftest { get; init; }
    public string? EngineSha256 { get; init; }
    public string? CurrentJob { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? LastSeenAt { get; init; }

    public DeviceKind KindValue => Enum.Parse<DeviceKind>(Kind, true);

    public DeviceState StateValue => Enum.Parse<DeviceState>(State, true);

    public DeviceFactsView? FactsView => Json.Read<DeviceFactsView>(Facts);

    public SelfTestView? SelfTestView => Json.Read<SelfTestView>(Selftest);

    public DeviceView ToView() => new(
        Id, Name, Address, KindValue, StateValue, StateReason, HostKey, Owner, Epoch, CurrentJob, CreatedAt, LastSeenAt,
        FactsView, SelfTestView, CheckRequested > CheckDone);
}

/// <summary>Rows of devices. Writes of a driver take its lease and change nothing when it is lost.</summary>
public sealed class DeviceStore(Database database, NodeIdentity node)
{
    private const string Select = """
        select d.*, n.name as owner, (
            select j.kind || ' ' || m.name from attempt a join job j on j.id = a.job_id join model m on m.id = j.model_id
            where a.device_id = d.id and a.state in ('starting', 'running')) as current_job
        from device d left join node n on n.id = d.lease_node and d.lease_until > clock_timestamp()
        """;

    public Task<List<DeviceRow>> ListAsync(CancellationToken ct) =>
        database.QueryAsync<DeviceRow>(Select + " where d.state <> 'retired' order by d.name", null, ct);

    public Task<DeviceRow?> FindAsync(Guid id, CancellationToken ct) =>
        database.FirstAsync<DeviceRow>(Select + " where d.id = @id", new { id }, ct);

    public Task<DeviceRow?> FindAsync(string name, CancellationToken ct) =>
        database.FirstAsync<DeviceRow>(Select + " where d.name = @name and d.state <> 'retired'", new { name }, ct);

    /// <summary>False: the name is taken or there are too many devices.</summary>
    public async Task<bool> AddAsync(Guid id, AddDeviceRequest request, CancellationToken ct) =>
        await database.ExecuteAsync(
            """
            insert into device (id, name, address, kind, host_key, identity_file)
            select @id, @Name, @Address, @kind, @HostKeyFingerprint, @IdentityFile
            where (select count(*) from device where state <> 'retired') < @most
            on conflict (name) where state <> 'retired' do nothing
            """,
            new
            {
                id,
                request.Name,
                request.Address,
                kind = request.Kind.ToString().ToLowerInvariant(),
                request.HostKeyFingerprint,
                request.IdentityFile,
                most = Limits.Devices,
            },
            ct) == 1;

    public Task RequestCheckAsync(Guid id, bool adopt, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            update device set check_requested = check_requested + 1, adopt_requested = adopt_requested or @adopt, retry_at = null, quarantine = null
            where id = @id
            """,
            new { id, adopt }, ct);

    /// <summary>Makes a driver set the device to bad; done by whoever finds its numbers wrong.</summary>
    public Task QuarantineAsync(Guid id, string reason, CancellationToken ct) =>
        database.ExecuteAsync("update device set quarantine = @reason where id = @id and quarantine is null", new { id, reason }, ct);

    /// <summary>Asks for retirement; a device without a live attempt and without an owner is retired at once.</summary>
    public Task RetireAsync(Guid id, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            update device d set desired_state = 'retired', retry_at = null,
                state = case when d.lease_node is null and not exists (
                    select 1 from attempt a where a.device_id = d.id and a.state in ('starting', 'running')) then 'retired' else d.state end
            where d.id = @id
            """,
            new { id }, ct);

    /// <summary>The driver's own look at its device, which fails when the lease is lost.</summary>
    public async Task<DeviceRow> ReadOwnedAsync(DeviceLease lease, CancellationToken ct) =>
        await database.FirstAsync<DeviceRow>(
            Select + " where d.id = @DeviceId and d.epoch = @Epoch and d.lease_node = @node",
            new { lease.DeviceId, lease.Epoch, node = node.Id }, ct) ?? throw new LeaseLostException(lease);

    public Task SetStateAsync(DeviceLease lease, DeviceState state, string? reason, CancellationToken ct) =>
        WriteAsync(
            lease, "state = @state, state_reason = @reason",
            new { state = state.ToString().ToLowerInvariant(), reason = reason is { Length: > 1000 } ? reason[..1000] : reason }, ct);

    /// <summary>The board answered: not offline any more, no failures.</summary>
    public Task SeenAsync(DeviceLease lease, CancellationToken ct) =>
        WriteAsync(lease, "last_seen_at = clock_timestamp(), failures = 0, retry_at = null", null, ct);

    /// <summary>
    /// The board cannot be driven now; another try comes after <paramref name="wait"/>, or at once when a person has asked for a
    /// check since the driver saw <paramref name="seenCheck"/> (<c>check_requested</c>).
    /// </summary>
    public Task FailedAsync(DeviceLease lease, DeviceState state, string reason, TimeSpan wait, long seenCheck, CancellationToken ct) =>
        WriteAsync(
            lease,
            """
            state = @state, state_reason = @reason, failures = failures + 1,
            retry_at = case when check_requested > @seenCheck then null else clock_timestamp() + @wait end
            """,
            new { state = state.ToString().ToLowerInvariant(), reason, wait, seenCheck }, ct);

    public Task SetFactsAsync(DeviceLease lease, DeviceFactsView facts, CancellationToken ct) =>
        WriteAsync(
            lease, "facts = @facts::jsonb, boot_id = @BootId, last_seen_at = clock_timestamp()",
            new { facts = Json.Write(facts), facts.BootId }, ct);

    /// <summary>Ends a check: stores the self-test and which wish it fulfils.</summary>
    public Task CheckedAsync(DeviceLease lease, long check, SelfTestView? selfTest, DeviceState state, string? reason, CancellationToken ct) =>
        WriteAsync(
            lease,
            """
            check_done = greatest(check_done, @check), adopt_requested = false, selftest = coalesce(@selfTest::jsonb, selftest),
            engine_sha256 = coalesce(@engine, engine_sha256), state = @state, state_reason = @reason, failures = 0, retry_at = null
            """,
            new
            {
                check,
                selfTest = selfTest is null ? null : Json.Write(selfTest),
                engine = selfTest?.EngineSha256,
                state = state.ToString().ToLowerInvariant(),
                reason,
            },
            ct);

    /// <summary>Keeps the lowest temperature and the best reference loop seen.</summary>
    public Task SetReferenceAsync(DeviceLease lease, double? celsius, long? loopNs, CancellationToken ct) =>
        WriteAsync(
            lease, "idle_celsius = least(idle_celsius, @celsius), best_loop_ns = least(best_loop_ns, @loopNs), last_seen_at = clock_timestamp()",
            new { celsius, loopNs }, ct);

    private async Task WriteAsync(DeviceLease lease, string assignments, object? values, CancellationToken ct)
    {
        var parameters = new Dapper.DynamicParameters(values);
        parameters.Add("DeviceId", lease.DeviceId);
        parameters.Add("Epoch", lease.Epoch);
        parameters.Add("node", node.Id);
        var changed = await database.ExecuteAsync(
            $"update device set {assignments} where id = @DeviceId and epoch = @Epoch and lease_node = @node", parameters, ct);
        if (changed == 0)
            throw new LeaseLostException(lease);
    }
}
