using System.Text.Json;
using System.Text.Json.Serialization;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using Orleans.Storage;

namespace AgileQuant.Orchestrator.Orleans.Storage;

/// <summary>Grain state in the table <c>grain_state</c>, as JSON that a person can read.</summary>
public sealed class GrainStorage(Database database, IOptions<ClusterOptions> cluster) : IGrainStorage
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { Converters = { new JsonStringEnumConverter() } };
    private readonly string _service = cluster.Value.ServiceId;

    public async Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        var row = await database.FirstAsync<Row>(
            "select value::text as value, revision from grain_state where service = @service and grain = @grain and state = @stateName",
            Key(stateName, grainId));
        grainState.RecordExists = row is not null;
        grainState.ETag = row?.Revision.ToString()!;
        grainState.State = row is null ? Activator.CreateInstance<T>() : JsonSerializer.Deserialize<T>(row.Value, Json)!;
    }

    public async Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        var sql = grainState.ETag is null
            ? """
              insert into grain_state (service, grain, state, value) values (@service, @grain, @stateName, @value::jsonb)
              on conflict do nothing returning revision
              """
            : """
              update grain_state set value = @value::jsonb, revision = nextval('orleans_revision'), written_at = clock_timestamp()
              where service = @service and grain = @grain and state = @stateName and revision = @revision returning revision
              """;
        var revision = await database.FirstAsync<long?>(
            sql, Key(stateName, grainId, Revision(grainState), JsonSerializer.Serialize(grainState.State, Json)));
        if (revision is null)
            throw await ConflictAsync("write", stateName, grainId, grainState);
        grainState.ETag = revision.Value.ToString();
        grainState.RecordExists = true;
    }

    public async Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        var gone = await database.FirstAsync<bool>(
            """
            with gone as (
                delete from grain_state
                where service = @service and grain = @grain and state = @stateName and revision = @revision returning 1)
            select exists (select 1 from gone)
                or not exists (select 1 from grain_state where service = @service and grain = @grain and state = @stateName)
            """,
            Key(stateName, grainId, Revision(grainState)));
        if (!gone)
            throw await ConflictAsync("clear", stateName, grainId, grainState);
        grainState.ETag = null!;
        grainState.RecordExists = false;
        grainState.State = Activator.CreateInstance<T>();
    }

    private object Key(string stateName, GrainId grain, long revision = 0, string? value = null) =>
        new { service = _service, grain = grain.ToString(), stateName, revision, value };

    private static long Revision<T>(IGrainState<T> state) => long.TryParse(state.ETag, out var revision) ? revision : 0;

    private async Task<InconsistentStateException> ConflictAsync<T>(string what, string stateName, GrainId grain, IGrainState<T> state)
    {
        var stored = await database.FirstAsync<long?>(
            "select revision from grain_state where service = @service and grain = @grain and state = @stateName", Key(stateName, grain));
        return new InconsistentStateException($"cannot {what} {stateName} of {grain}: another activation has written it", stored?.ToString() ?? "none", state.ETag ?? "none");
    }

    private sealed class Row
    {
        public string Value { get; init; } = "";
        public long Revision { get; init; }
    }
}
