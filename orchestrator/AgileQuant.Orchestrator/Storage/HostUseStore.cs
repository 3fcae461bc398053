namespace AgileQuant.Orchestrator.Storage;

/// <summary>How a physical machine is used.</summary>
public enum HostUse
{
    /// <summary>Packing and scoring by a node itself; shared.</summary>
    Worker,

    /// <summary>A board's attempt that bears company: perplexity, and everything on boards that are not real.</summary>
    Shared,

    /// <summary>A timing attempt of a real board.</summary>
    Exclusive,
}

/// <summary>
/// Who uses a physical machine, keyed by its boot id: a timing job exclusively; packing, scoring and perplexity shared. Rows in
/// Postgres, so that it holds between nodes and boards that are the same machine.
/// </summary>
public sealed class HostUseStore(Database database, OrchestratorOptions options)
{
    /// <summary>
    /// A driver looks at its board at least this often; an engine goes on while its driver moves to another node, and keeps its host
    /// until that one had the time to renew.
    /// </summary>
    private static readonly TimeSpan Handover = TimeSpan.FromSeconds(30);

    /// <summary>
    /// True: granted, or renewed. A refused exclusive wish stays in the queue until it expires. A worker that does not renew for a
    /// lease time is taken for gone; an attempt may change its driver in between.
    /// </summary>
    public Task<bool> TakeAsync(string bootId, Guid holder, HostUse use, string what, CancellationToken ct) =>
        database.FirstAsync<bool>(
            "select take_host(@bootId, @holder, @exclusive, @what, @ttl)",
            new
            {
                bootId,
                holder,
                what,
                exclusive = use == HostUse.Exclusive,
                ttl = use == HostUse.Worker ? options.Lease : options.Lease + Handover,
            },
            ct);

    public Task ReleaseAsync(Guid holder, CancellationToken ct) =>
        database.ExecuteAsync("delete from host_use where holder = @holder", new { holder }, ct);

    /// <summary>
    /// What keeps <paramref name="holder"/> waiting, in words; null: whatever it was has just gone, so asking again may succeed.
    /// </summary>
    public async Task<string?> BlockersAsync(string bootId, Guid holder, CancellationToken ct)
    {
        var names = await database.QueryAsync<string>(
            "select what from host_use where boot_id = @bootId and holder <> @holder and until > clock_timestamp() order by asked_at limit 5",
            new { bootId, holder }, ct);
        return names.Count == 0 ? null : string.Join(", ", names);
    }
}
