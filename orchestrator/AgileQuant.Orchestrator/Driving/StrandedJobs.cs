using AgileQuant.Orchestrator.Storage;
using Dapper;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>
/// Ends waiting jobs whose device will not do them: it is bad and waits for a person, or it has been offline for too long.
/// Done by every node, without a lease, because nobody drives such a device; repeating it changes nothing.
/// </summary>
public sealed class StrandedJobs(Database database, OrchestratorOptions options)
{
    private const string EndSql = """
        update job j set state = 'failed', finished_at = clock_timestamp(), reason = left(stranded.reason, 1000)
        from (
            select j.id, case d.state
                when 'bad' then 'the device is bad: ' || coalesce(d.state_reason, 'no reason given')
                else format('the device was offline for more than %s h (last seen %s): %s', @hours::float8,
                    coalesce(to_char(d.last_seen_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'never'),
                    coalesce(d.state_reason, 'no reason given')) end as reason
            from job j join device d on d.id = j.device_id join matrix m on m.id = j.matrix_id
            where j.state = 'waiting'
              and d.check_requested <= d.check_done and not d.adopt_requested
              and (d.state = 'bad'
                or d.state = 'offline' and greatest(coalesce(d.last_seen_at, d.created_at), m.created_at) < clock_timestamp() - @bound)
        ) stranded
        where j.id = stranded.id and j.state = 'waiting'
        returning j.matrix_id
        """;

    /// <summary>Ends them with the device's own reason and settles their runs, in one transaction. Returns how many.</summary>
    public async Task<int> EndAsync(CancellationToken ct)
    {
        await using var connection = await database.OpenAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        var ended = (await connection.QueryAsync<Guid>(new CommandDefinition(
            EndSql, new { bound = options.OfflineJobWait, hours = Math.Round(options.OfflineJobWait.TotalHours, 1) }, transaction, cancellationToken: ct))).ToList();
        foreach (var matrix in ended.Distinct())
            await connection.ExecuteAsync(new CommandDefinition("select settle_runs(@matrix)", new { matrix }, transaction, cancellationToken: ct));
        await transaction.CommitAsync(ct);
        return ended.Count;
    }
}
