using System.Text.Json;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Options;
using Orleans.Configuration;

namespace AgileQuant.Orchestrator.Orleans.Storage;

/// <summary>
/// Members of the Orleans cluster in the tables <c>silo</c> and <c>silo_version</c>. The version doubles as its own etag: it only
/// ever rises. Each change is one statement that first takes the version row, so that changes are made one after the other.
/// </summary>
public sealed class MembershipTable(Database database, IOptions<ClusterOptions> cluster) : IMembershipTable
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);
    private readonly string _cluster = cluster.Value.ClusterId;

    /// <summary>Takes the version row when it has the expected version and the change is possible.</summary>
    private const string Versioned = """
        with versioned as (
            update silo_version set version = @version
            where cluster = @cluster and version = @expected and
        """;

    public Task InitializeMembershipTable(bool tryInitTableVersion) =>
        tryInitTableVersion
            ? database.ExecuteAsync("insert into silo_version (cluster, version) values (@cluster, 0) on conflict do nothing", new { cluster = _cluster })
            : Task.CompletedTask;

    /// <summary>The version stays: it must never be seen to fall.</summary>
    public Task DeleteMembershipTableEntries(string clusterId) =>
        database.ExecuteAsync("delete from silo where cluster = @clusterId", new { clusterId });

    /// <summary>Whatever is not active and gave its last sign of life before then.</summary>
    public Task CleanupDefunctSiloEntries(DateTimeOffset beforeDate) =>
        database.ExecuteAsync(
            "delete from silo where cluster = @cluster and status <> 'active' and greatest(started_at, alive_at) < @before",
            new { cluster = _cluster, before = beforeDate.UtcDateTime });

    public Task<MembershipTableData> ReadRow(SiloAddress key) => ReadAsync(key.ToParsableString());

    public Task<MembershipTableData> ReadAll() => ReadAsync(null);

    public async Task<bool> InsertRow(MembershipEntry entry, TableVersion tableVersion)
    {
        if (!int.TryParse(tableVersion.VersionEtag, out var expected))
            return false;
        return await database.ExecuteAsync(
            $"""
            {Versioned} not exists (select 1 from silo s where s.cluster = @cluster and s.address = @address) returning 1)
            insert into silo (cluster, address, name, status, host, role, gateway_port, update_zone, fault_zone, suspected, started_at, alive_at)
            select @cluster, @address, @name, @status, @host, @role, @gatewayPort, @updateZone, @faultZone, @suspected::jsonb, @startedAt, @aliveAt
            from versioned
            """,
            Parameters(entry, tableVersion.Version, expected, 0)) == 1;
    }

    public async Task<bool> UpdateRow(MembershipEntry entry, string etag, TableVersion tableVersion)
    {
        if (!int.TryParse(tableVersion.VersionEtag, out var expected) || !long.TryParse(etag, out var revision))
            return false;
        return await database.ExecuteAsync(
            $"""
            {Versioned} exists (select 1 from silo s where s.cluster = @cluster and s.address = @address and s.revision = @revision) returning 1)
            update silo set name = @name, status = @status, host = @host, role = @role, gateway_port = @gatewayPort, update_zone = @updateZone,
                fault_zone = @faultZone, suspected = @suspected::jsonb, started_at = @startedAt, alive_at = @aliveAt, revision = nextval('orleans_revision')
            from versioned where silo.cluster = @cluster and silo.address = @address and silo.revision = @revision
            """,
            Parameters(entry, tableVersion.Version, expected, revision)) == 1;
    }

    public Task UpdateIAmAlive(MembershipEntry entry) =>
        database.ExecuteAsync(
            "update silo set alive_at = @at where cluster = @cluster and address = @address",
            new { cluster = _cluster, address = entry.SiloAddress.ToParsableString(), at = Utc(entry.IAmAliveTime) });

    /// <summary>Version and members in one statement, so that they belong together.</summary>
    private async Task<MembershipTableData> ReadAsync(string? address)
    {
        var rows = await database.QueryAsync<Row>(
            """
            select v.version, s.* from silo_version v
            left join silo s on s.cluster = v.cluster and (@address::text is null or s.address = @address)
            where v.cluster = @cluster
            """,
            new { cluster = _cluster, address });
        if (rows.Count == 0)
            throw new InvalidOperationException($"the database knows no cluster {_cluster}: its silo table was emptied while silos ran");
        var version = rows[0].Version;
        return new MembershipTableData(
            [.. rows.Where(r => r.Address is not null).Select(r => Tuple.Create(Entry(r), r.Revision.ToString()))],
            new TableVersion(version, version.ToString()));
    }

    private object Parameters(MembershipEntry entry, int version, int expected, long revision) => new
    {
        cluster = _cluster,
        version,
        expected,
        revision,
        address = entry.SiloAddress.ToParsableString(),
        name = entry.SiloName,
#pragma warning disable CA1308 // the state column holds lower-case words, as everywhere in this database
        status = entry.Status.ToString().ToLowerInvariant(),
#pragma warning restore CA1308
        host = entry.HostName,
        role = entry.RoleName,
        gatewayPort = entry.ProxyPort,
        updateZone = entry.UpdateZone,
        faultZone = entry.FaultZone,
        suspected = JsonSerializer.Serialize((entry.SuspectTimes ?? []).Select(s => new Vote(s.Item1.ToParsableString(), Utc(s.Item2))), Json),
        startedAt = Utc(entry.StartTime),
        aliveAt = Utc(entry.IAmAliveTime),
    };

    private static MembershipEntry Entry(Row row) => new()
    {
        SiloAddress = SiloAddress.FromParsableString(row.Address!),
        SiloName = row.Name,
        Status = Enum.Parse<SiloStatus>(row.Status, ignoreCase: true),
        HostName = row.Host,
        RoleName = row.Role,
        ProxyPort = row.GatewayPort,
        UpdateZone = row.UpdateZone,
        FaultZone = row.FaultZone,
        SuspectTimes = Votes(row.Suspected),
        StartTime = row.StartedAt,
        IAmAliveTime = row.AliveAt,
    };

    /// <summary>Null, as Orleans has it, when nobody suspects the silo.</summary>
    private static List<Tuple<SiloAddress, DateTime>>? Votes(string json)
    {
        var votes = JsonSerializer.Deserialize<List<Vote>>(json, Json)!;
        return votes.Count == 0 ? null : [.. votes.Select(v => Tuple.Create(SiloAddress.FromParsableString(v.By), Utc(v.At)))];
    }

    private static DateTime Utc(DateTime time) => time.Kind == DateTimeKind.Local ? time.ToUniversalTime() : DateTime.SpecifyKind(time, DateTimeKind.Utc);

    private sealed record Vote(string By, DateTime At);

    private sealed class Row
    {
        public int Version { get; init; }
        public string? Address { get; init; }
        public string Name { get; init; } = "";
        public string Status { get; init; } = "";
        public string Host { get; init; } = "";
        public string? Role { get; init; }
        public int GatewayPort { get; init; }
        public int UpdateZone { get; init; }
        public int FaultZone { get; init; }
        public string Suspected { get; init; } = "[]";
        public DateTime StartedAt { get; init; }
        public DateTime AliveAt { get; init; }
        public long Revision { get; init; }
    }
}
