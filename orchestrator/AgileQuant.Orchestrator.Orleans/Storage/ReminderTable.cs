using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Options;
using Orleans.Configuration;

namespace AgileQuant.Orchestrator.Orleans.Storage;

/// <summary>Reminders in the table <c>reminder</c>.</summary>
public sealed class ReminderTable(Database database, IOptions<ClusterOptions> cluster) : IReminderTable
{
    private const string Columns = "grain, name, start_at, period, revision";
    private readonly string _service = cluster.Value.ServiceId;

    public Task StartAsync(CancellationToken cancellationToken = default) => Task.CompletedTask; // the migration made the table

    public async Task<ReminderTableData> ReadRows(GrainId grainId) =>
        Data(await database.QueryAsync<Row>(
            $"select {Columns} from reminder where service = @service and grain = @grain", new { service = _service, grain = grainId.ToString() }));

    /// <summary>Hashes from <paramref name="begin"/>, which is outside, to <paramref name="end"/>, which is inside; around the ring's end when it is not larger.</summary>
    public async Task<ReminderTableData> ReadRows(uint begin, uint end) =>
        Data(await database.QueryAsync<Row>(
            $"select {Columns} from reminder where service = @service and (hash > @begin {(begin < end ? "and" : "or")} hash <= @end)",
            new { service = _service, begin = (long)begin, end = (long)end }));

    public async Task<ReminderEntry?> ReadRow(GrainId grainId, string reminderName) =>
        await database.FirstAsync<Row>(
            $"select {Columns} from reminder where service = @service and grain = @grain and name = @reminderName",
            new { service = _service, grain = grainId.ToString(), reminderName }) is { } row
            ? Entry(row)
            : null;

    public async Task<string?> UpsertRow(ReminderEntry entry) =>
        (await database.FirstAsync<long>(
            """
            insert into reminder (service, grain, name, start_at, period, hash)
            values (@service, @grain, @ReminderName, @startAt, @Period, @hash)
            on conflict (service, grain, name) do update set
                start_at = excluded.start_at, period = excluded.period, hash = excluded.hash, revision = excluded.revision
            returning revision
            """,
            new
            {
                service = _service,
                grain = entry.GrainId.ToString(),
                entry.ReminderName,
                startAt = DateTime.SpecifyKind(entry.StartAt, DateTimeKind.Utc),
                entry.Period,
                hash = (long)entry.GrainId.GetUniformHashCode(),
            })).ToString();

    public async Task<bool> RemoveRow(GrainId grainId, string reminderName, string eTag) =>
        long.TryParse(eTag, out var revision) && await database.ExecuteAsync(
            "delete from reminder where service = @service and grain = @grain and name = @reminderName and revision = @revision",
            new { service = _service, grain = grainId.ToString(), reminderName, revision }) == 1;

    public Task TestOnlyClearTable() => database.ExecuteAsync("delete from reminder where service = @service", new { service = _service });

    private static ReminderTableData Data(List<Row> rows) => new(rows.Select(Entry));

    private static ReminderEntry Entry(Row row) => new()
    {
        GrainId = GrainId.Parse(row.Grain),
        ReminderName = row.Name,
        StartAt = row.StartAt,
        Period = row.Period,
        ETag = row.Revision.ToString(),
    };

    private sealed class Row
    {
        public string Grain { get; init; } = "";
        public string Name { get; init; } = "";
        public DateTime StartAt { get; init; }
        public TimeSpan Period { get; init; }
        public long Revision { get; init; }
    }
}
