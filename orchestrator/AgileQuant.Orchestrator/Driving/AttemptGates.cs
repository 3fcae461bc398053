using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>What gates saw before attempts, and what disturbed an attempt after its gate. Kept on the attempt's row, so that it survives a handover.</summary>
internal sealed class AttemptGates(DriverServices services, DeviceLease lease)
{
    /// <summary>Adds words to the attempt's gate, once; they cap its grade. Nothing happens for attempts without a gate (perplexity).</summary>
    public Task NoteAsync(Guid attempt, string note, CancellationToken ct) =>
        services.Database.ExecuteAsync(
            """
            update attempt set gate = jsonb_set(gate, '{note}', to_jsonb(concat_ws('; ', gate ->> 'note', @note)))
            where id = @attempt and gate is not null and position(@note in coalesce(gate ->> 'note', '')) = 0
              and exists (select 1 from device where id = @DeviceId and epoch = @Epoch and lease_node = @node)
            """,
            new { attempt, note, lease.DeviceId, lease.Epoch, node = services.Node.Id }, ct);

    /// <summary>The gates of some attempts, as they stand now; attempts without one are left out.</summary>
    public async Task<IReadOnlyDictionary<Guid, GateRecord>> ReadAsync(IReadOnlyCollection<Guid> attempts, CancellationToken ct) =>
        (await services.Database.QueryAsync<Row>(
            "select id, gate from attempt where id = any(@ids) and gate is not null", new { ids = attempts.ToArray() }, ct))
        .ToDictionary(r => r.Id, r => Json.Read<GateRecord>(r.Gate)!);

    private sealed class Row
    {
        public Guid Id { get; init; }
        public string Gate { get; init; } = "";
    }
}
