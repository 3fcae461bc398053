namespace AgileQuant.Orchestrator.Storage;

/// <summary>
/// Who uses a physical machine, keyed by its boot id: a timing job exclusively; packing, scoring and perplexity shared. Rows in
/// Postgres, so that it holds between nodes and boards that are the same machine.
/// </summary>
public sealed class HostUseStore(Database database)
{
    /// <summary>A holder that does not renew for this long is taken for gone.</summary>
    public static readonly TimeSpan TimeToLive = TimeSpan.FromSeconds(60);

    /// <summary>True: granted, or renewed. A refused exclusive wish stays in the queue until it expires.</summary>
    public Task<bool> TakeAsync(string bootId, Guid holder, bool exclusive, string what, CancellationToken ct) =>
        database.FirstAsync<bool>(
            "select take_host(@bootId, @holder, @exclusive, @what, @ttl)",
            new { bootId, holder, exclusive, what, ttl = TimeToLive }, ct);

    public Task ReleaseAsync(Guid holder, CancellationToken ct) =>
        database.ExecuteAsync("delete from host_use where holder = @holder", new { holder }, ct);

    /// <summary>What keeps <paramref name="holder"/> waiting, in words.</summary>
    public async Task<string> BlockersAsync(string bootId, Guid holder, CancellationToken ct) =>
        string.Join(", ", await database.QueryAsync<string>(
            "select what from host_use where boot_id = @bootId and holder <> @holder and until > clock_timestamp() order by asked_at limit 5",
            new { bootId, holder }, ct));
}
