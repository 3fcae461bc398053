using AgileQuant.Orchestrator.Ownership;
using Npgsql;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>A claimed job of a node, with the epoch of its claim.</summary>
public sealed class NodeJobRow
{
    public Guid Id { get; init; }
    public string Kind { get; init; } = "";
    public Guid SubjectId { get; init; }
    public long Epoch { get; init; }
    public int Attempts { get; init; }
    public int MaxAttempts { get; init; }
}

/// <summary>A pack or token file that was made.</summary>
public sealed class MadeArtifact
{
    public string Kind { get; init; } = "";
    public Guid SubjectId { get; init; }
    public string Sha256 { get; init; } = "";
}

/// <summary>What a score job needs.</summary>
public sealed class ScoreInput
{
    public Guid Id { get; init; }
    public string Convention { get; init; } = "";
    public string PackSha256 { get; init; } = "";
    public string Precision { get; init; } = "";
    public string TokensSha256 { get; init; } = "";
    public string Model { get; init; } = "";
}

/// <summary>A live node's own work.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Running">Packs, token files and scores that it makes now.</param>
/// <param name="HostTaken">A timing job has its machine to itself, or waits for it.</param>
public sealed record NodeLoad(Guid NodeId, long Running, bool HostTaken);

/// <summary>Rows of jobs that nodes do themselves. A claim is a lease of its own; results are written only under its epoch.</summary>
public sealed class NodeJobStore(Database database, NodeIdentity node, OrchestratorOptions options)
{
    /// <summary>Waiting or orphaned, wanted by a matrix that is neither cancelled nor finished, and all it needs is made.</summary>
    private const string Claimable = """
        (n.state = 'waiting' and n.not_before <= clock_timestamp() or n.state = 'running' and n.lease_until < clock_timestamp())
        and n.attempts < n.max_attempts
        and (n.kind <> 'pack' or not exists (
            select 1 from pack p join token_file t on t.id = p.calibration_id
            where p.id = n.subject_id and (t.sha256 is null or exists (
                select 1 from node_job u where u.kind = 'tokens' and u.subject_id = t.id and u.state <> 'done'))))
        and (n.kind <> 'score' or exists (
            select 1 from score s join pack p on p.id = s.pack_id join token_file t on t.id = s.token_file_id
            where s.id = n.subject_id and p.sha256 is not null and t.sha256 is not null and not exists (
                select 1 from node_job u where u.state <> 'done'
                  and (u.kind = 'pack' and u.subject_id = p.id or u.kind = 'tokens' and u.subject_id = t.id))))
        and exists (
            select 1 from matrix_node_job l join matrix m on m.id = l.matrix_id
            where l.node_job_id = n.id and m.cancel_requested_at is null and m.finished_at is null)
        """;

    private const string Order = "case n.kind when 'tokens' then 0 when 'pack' then 1 else 2 end, n.created_at";

    public Task<bool> AnyAsync(CancellationToken ct) =>
        database.FirstAsync<bool>($"select exists (select 1 from node_job n where {Claimable})", null, ct);

    /// <summary>Takes one job; several nodes never take the same.</summary>
    public Task<NodeJobRow?> ClaimAsync(CancellationToken ct) => ClaimAsync(null, ct);

    /// <summary>Takes this very job, or any when it is null; null when it cannot be had (any more).</summary>
    public Task<NodeJobRow?> ClaimAsync(Guid? job, CancellationToken ct) =>
        database.FirstAsync<NodeJobRow>(
            $"""
            update node_job set state = 'running', lease_node = @node, lease_until = clock_timestamp() + @lease, epoch = epoch + 1,
                attempts = attempts + 1, progress = 0, reason = null, started_at = coalesce(started_at, clock_timestamp())
            where id = (
                select n.id from node_job n where {Claimable} and (@job::uuid is null or n.id = @job)
                order by {Order}
                limit 1 for update skip locked)
            returning id, kind, subject_id, epoch, attempts, max_attempts
            """,
            new { job, node = node.Id, lease = options.Lease }, ct);

    /// <summary>Jobs that could be taken now, the first to do first.</summary>
    public Task<List<Guid>> ClaimableAsync(int most, CancellationToken ct) =>
        database.QueryAsync<Guid>($"select n.id from node_job n where {Claimable} order by {Order} limit @most", new { most }, ct);

    /// <summary>What the live nodes do, for choosing one of them.</summary>
    public Task<List<NodeLoad>> LoadsAsync(CancellationToken ct) =>
        database.QueryAsync<NodeLoad>(
            """
            select n.id as node_id,
                (select count(*) from node_job j where j.lease_node = n.id and j.state = 'running' and j.lease_until > clock_timestamp()) as running,
                exists (select 1 from host_use u where u.boot_id = n.boot_id and u.exclusive and u.until > clock_timestamp()) as host_taken
            from live_node n
            """,
            null, ct);

    /// <summary>False: the claim is lost, stop.</summary>
    public async Task<bool> RenewAsync(NodeJobRow job, double progress, CancellationToken ct) =>
        await database.ExecuteAsync(
            """
            update node_job set lease_until = clock_timestamp() + @lease,
                progress = case when abs(progress - @progress) >= 0.01 then @progress else progress end
            where id = @Id and epoch = @Epoch and state = 'running'
            """,
            new { job.Id, job.Epoch, progress, lease = options.Lease }, ct) == 1;

    /// <param name="job">The claim.</param>
    /// <param name="sha">SHA-256 of the pack.</param>
    /// <param name="bytes">Its size.</param>
    /// <param name="recipe">The complete recipe: with calibration, more than the order was. Null: as it was ordered.</param>
    /// <param name="ct">Stops it.</param>
    public async Task<bool> FinishPackAsync(NodeJobRow job, string sha, long bytes, string? recipe, CancellationToken ct) =>
        await database.ExecuteAsync(
            $"""
            with {FinishedCte}, kept as (
                insert into artifact (sha256, kind, bytes) select @sha, 'pack', @bytes from finished on conflict (sha256) do nothing)
            update pack set sha256 = @sha, bytes = @bytes, recipe = coalesce(@recipe, recipe) from finished where pack.id = finished.subject_id
            """,
            new { job.Id, job.Epoch, sha, bytes, recipe }, ct) == 1;

    public async Task<bool> FinishTokensAsync(NodeJobRow job, string sha, long bytes, long ids, CancellationToken ct) =>
        await database.ExecuteAsync(
            $"""
            with {FinishedCte}, kept as (
                insert into artifact (sha256, kind, bytes) select @sha, 'tokens', @bytes from finished on conflict (sha256) do nothing)
            update token_file set sha256 = @sha, ids = @ids from finished where token_file.id = finished.subject_id
            """,
            new { job.Id, job.Epoch, sha, bytes, ids }, ct) == 1;

    /// <summary>Stores a score's windows and figures in one transaction, which does nothing when the claim is lost.</summary>
    public async Task<bool> FinishScoreAsync(
        NodeJobRow job, IReadOnlyList<float[]> windows, IReadOnlyList<byte[]>? survivors, string figures, string engine, string? isa, CancellationToken ct)
    {
        await using var connection = await database.OpenAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        var finished = await Dapper.SqlMapper.ExecuteAsync(
            connection,
            $"""
            with {FinishedCte}, old as (delete from score_window using finished where score_id = finished.subject_id)
            update score set windows = @windows, figures = @figures::jsonb, engine_sha256 = @engine, isa = @isa
            from finished where score.id = finished.subject_id
            """,
            new { job.Id, job.Epoch, windows = windows.Count, figures, engine, isa }, transaction);
        if (finished == 0)
            return false;
        await CopyWindowsAsync(connection, job.SubjectId, windows, survivors, ct);
        await transaction.CommitAsync(ct);
        return true;
    }

    /// <summary>Finishes the matrices that only waited for what has just ended: scores and comparisons.</summary>
    public Task SettleAsync(CancellationToken ct) => database.ExecuteAsync("select settle_matrices()", null, ct);

    /// <summary>Settles every open matrix with its runs, for what a process that was killed left in between.</summary>
    public Task SettleAllAsync(CancellationToken ct) =>
        database.ExecuteAsync(
            "select settle_runs(x.id) from (select m.id from matrix m where m.finished_at is null order by m.id) x", null, ct);

    /// <summary>What a matrix needs that was made before: packs and token files, each with its artifact.</summary>
    public Task<List<MadeArtifact>> MadeAsync(Guid matrixId, CancellationToken ct) =>
        database.QueryAsync<MadeArtifact>(
            """
            select n.kind, n.subject_id, coalesce(p.sha256, t.sha256) as sha256
            from matrix_node_job l join node_job n on n.id = l.node_job_id
            left join pack p on n.kind = 'pack' and p.id = n.subject_id
            left join token_file t on n.kind = 'tokens' and t.id = n.subject_id
            where l.matrix_id = @matrixId and n.state = 'done' and coalesce(p.sha256, t.sha256) is not null
            """,
            new { matrixId }, ct);

    /// <summary>
    /// Has packs and token files made again whose file is gone from the store; the same input gives the same bytes, so their
    /// hash stays. Jobs that need them wait in the meantime. False: the hash is of neither, or making it again has failed.
    /// </summary>
    public async Task<bool> RemakeAsync(string sha256, CancellationToken ct) =>
        await database.FirstAsync<bool>(
            """
            with made as (
                select n.id, n.state from node_job n
                where n.kind = 'pack' and exists (select 1 from pack p where p.id = n.subject_id and p.sha256 = @sha256)
                   or n.kind = 'tokens' and exists (select 1 from token_file t where t.id = n.subject_id and t.sha256 = @sha256)
            ), again as (
                update node_job n set state = 'waiting', attempts = 0, progress = 0, not_before = clock_timestamp(), finished_at = null,
                    reason = 'its file is missing from the store: it is made again'
                from made where n.id = made.id and n.state = 'done')
            select exists (select 1 from made where state in ('waiting', 'running', 'done'))
            """,
            new { sha256 }, ct);

    /// <summary>Another try later, or failed for good with the reason.</summary>
    public Task FailAsync(NodeJobRow job, string reason, bool final, TimeSpan wait, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            update node_job set
                state = case when @final or attempts >= max_attempts then 'failed' else 'waiting' end,
                finished_at = case when @final or attempts >= max_attempts then clock_timestamp() end,
                reason = @reason, not_before = clock_timestamp() + @wait, lease_node = null, lease_until = null
            where id = @Id and epoch = @Epoch and state = 'running'
            """,
            new { job.Id, job.Epoch, reason = reason.Length > 1000 ? reason[..1000] : reason, final, wait }, ct);

    /// <summary>Leaves a score out that this node's CPU cannot make; what waits for nothing else goes on without it. False: the claim is lost.</summary>
    public async Task<bool> SkipAsync(NodeJobRow job, string reason, CancellationToken ct) =>
        await database.ExecuteAsync(
            """
            update node_job set state = 'skipped', reason = @reason, finished_at = clock_timestamp(), lease_node = null, lease_until = null
            where id = @Id and epoch = @Epoch and state = 'running'
            """,
            new { job.Id, job.Epoch, reason }, ct) == 1;

    /// <summary>Gives a claim back on shutdown; the try does not count.</summary>
    public Task GiveBackAsync(NodeJobRow job, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            update node_job set state = 'waiting', attempts = attempts - 1, lease_node = null, lease_until = null
            where id = @Id and epoch = @Epoch and state = 'running'
            """,
            new { job.Id, job.Epoch }, ct);

    /// <summary>
    /// Fails what can never be done: orphans without tries left, and scores whose pack or tokens failed. Wakes what was cancelled
    /// for one matrix while another began to want it. Then finishes the matrices that waited for nothing else.
    /// </summary>
    public async Task SweepAsync(CancellationToken ct)
    {
        await database.ExecuteAsync(
            """
            select sweep_staging();
            update node_job set state = 'failed', reason = coalesce(reason, 'the node that did it stopped, ' || attempts || ' times'),
                finished_at = clock_timestamp()
            where state = 'running' and lease_until < clock_timestamp() and attempts >= max_attempts;
            update node_job n set state = 'failed', reason = 'needs its calibration text tokenized, and that failed: ' || coalesce(f.reason, 'no reason given'),
                finished_at = clock_timestamp()
            from pack p, node_job f
            where n.kind = 'pack' and n.state = 'waiting' and p.id = n.subject_id and f.state = 'failed'
              and f.kind = 'tokens' and f.subject_id = p.calibration_id;
            update node_job n set state = 'failed', reason = 'needs a pack and a token file, and making them failed', finished_at = clock_timestamp()
            from score s, node_job f
            where n.kind = 'score' and n.state = 'waiting' and s.id = n.subject_id and f.state = 'failed'
              and (f.kind = 'pack' and f.subject_id = s.pack_id or f.kind = 'tokens' and f.subject_id = s.token_file_id);
            update node_job n set state = 'waiting', attempts = 0, reason = null, finished_at = null, not_before = clock_timestamp()
            where n.state = 'cancelled' and exists (
                select 1 from matrix_node_job l join matrix m on m.id = l.matrix_id
                where l.node_job_id = n.id and m.cancel_requested_at is null and m.finished_at is null);
            """,
            null, ct);
        await SettleAsync(ct);
    }

    public Task<ScoreInput?> ScoreInputAsync(Guid scoreId, CancellationToken ct) =>
        database.FirstAsync<ScoreInput>(
            """
            select s.id, s.convention, p.sha256 as pack_sha256, p.precision, t.sha256 as tokens_sha256, m.name as model
            from score s join pack p on p.id = s.pack_id join token_file t on t.id = s.token_file_id join model m on m.id = p.model_id
            where s.id = @scoreId
            """,
            new { scoreId }, ct);

    private const string FinishedCte = """
        finished as (
            update node_job set state = 'done', progress = 1, reason = null, finished_at = clock_timestamp(), lease_node = null, lease_until = null
            where id = @Id and epoch = @Epoch and state = 'running' returning subject_id)
        """;

    private static async Task CopyWindowsAsync(
        NpgsqlConnection connection, Guid score, IReadOnlyList<float[]> windows, IReadOnlyList<byte[]>? survivors, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            "copy score_window (score_id, window_index, nll, survivors) from stdin (format binary)", ct);
        foreach (var (index, nll) in windows.Index())
        {
            await copy.StartRowAsync(ct);
            await copy.WriteAsync(score, ct);
            await copy.WriteAsync(index, ct);
            await copy.WriteAsync(FloatBytes.Write(nll), ct);
            await copy.WriteAsync(survivors?[index], NpgsqlTypes.NpgsqlDbType.Bytea, ct);
        }

        await copy.CompleteAsync(ct);
    }
}
