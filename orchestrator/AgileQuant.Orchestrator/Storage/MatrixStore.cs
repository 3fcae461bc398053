using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using Dapper;
using Npgsql;
using NpgsqlTypes;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Stores a planned matrix, all of it in one transaction, and asks for its cancellation.</summary>
public sealed class MatrixStore(Database database)
{
    public async Task<Guid> AddAsync(MatrixSpec spec, MatrixPlan plan, string createdBy, CancellationToken ct)
    {
        var id = Guid.CreateVersion7();
        await using var connection = await database.OpenAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await connection.ExecuteAsync(
            "insert into matrix (id, name, spec, created_by) values (@id, @Name, @spec::jsonb, @createdBy)",
            new { id, spec.Name, spec = Json.Write(spec), createdBy }, transaction);
        var shared = await new SharedWork(connection, id).AddAsync(plan);
        await AddRunsAsync(connection, id, plan, shared, ct);
        await AddJobsAsync(connection, id, plan, shared, ct);
        await AddBlocksAsync(connection, plan, ct);
        await connection.ExecuteAsync(
            "insert into audit (who, what, subject, details) values (@createdBy, 'matrix start', @id, @Name)",
            new { createdBy, id, spec.Name }, transaction);
        await transaction.CommitAsync(ct);
        return id;
    }

    /// <summary>Devices whose drivers have something to stop or to leave out when the matrix is cancelled.</summary>
    public Task<List<Guid>> DevicesAsync(Guid id, CancellationToken ct) =>
        database.QueryAsync<Guid>("select distinct device_id from job where matrix_id = @id", new { id }, ct);

    /// <summary>
    /// Marks the wish; what has not started is cancelled in the same transaction, with the nodes' work that nobody else waits for.
    /// Running attempts are stopped by their drivers, running work of nodes by its worker at the next renewal of its claim.
    /// False: there is no such matrix, or it has ended.
    /// </summary>
    public async Task<bool> CancelAsync(Guid id, string requestedBy, CancellationToken ct)
    {
        await using var connection = await database.OpenAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        var marked = await connection.ExecuteAsync(
            """
            update matrix set cancel_requested_at = clock_timestamp(), cancel_requested_by = @requestedBy
            where id = @id and cancel_requested_at is null and finished_at is null
            """,
            new { id, requestedBy }, transaction) == 1;
        if (marked)
        {
            await connection.ExecuteAsync(
                """
                update job set state = 'cancelled', reason = 'cancelled', finished_at = clock_timestamp()
                where matrix_id = @id and state = 'waiting';
                select drop_node_jobs(@id);
                select settle_runs(@id);
                insert into audit (who, what, subject) values (@requestedBy, 'matrix cancel', @id);
                """,
                new { id, requestedBy }, transaction);
        }

        await transaction.CommitAsync(ct);
        return marked;
    }

    /// <summary>Cancels what a device still has to do, for its removal.</summary>
    public Task CancelDeviceAsync(Guid deviceId, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            select 1 from matrix m where m.finished_at is null and exists (select 1 from run r where r.matrix_id = m.id and r.device_id = @deviceId)
            order by m.id for no key update;
            update job set state = 'cancelled', reason = 'the device was removed', finished_at = clock_timestamp()
            where device_id = @deviceId and state = 'waiting';
            select settle_runs(x.id) from (
                select m.id from matrix m
                where m.finished_at is null and exists (select 1 from run r where r.matrix_id = m.id and r.device_id = @deviceId)
                order by m.id) x;
            """,
            new { deviceId }, ct);

    private static async Task AddRunsAsync(NpgsqlConnection connection, Guid matrix, MatrixPlan plan, SharedIds shared, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            """
            copy run (id, matrix_id, device_id, model_id, precision, workload_index, workload, pack_id, token_file_id, asks_speed,
                asks_perplexity, convention) from stdin (format binary)
            """, ct);
        foreach (var r in plan.Runs)
        {
            await copy.StartRowAsync(ct);
            await copy.WriteAsync(r.Id, ct);
            await copy.WriteAsync(matrix, ct);
            await copy.WriteAsync(r.DeviceId, ct);
            await copy.WriteAsync(r.ModelId, ct);
            await copy.WriteAsync(r.Precision, ct);
            await copy.WriteAsync(r.WorkloadIndex, ct);
            await copy.WriteAsync(r.Workload, ct);
            await copy.WriteAsync(shared.Packs[new PlannedPack(r.ModelId, r.Precision)], ct);
            await WriteAsync(copy, r.DatasetId is { } d ? shared.Tokens[new PlannedTokens(r.ModelId, d)] : null, ct);
            await copy.WriteAsync(r.AsksSpeed, ct);
            await copy.WriteAsync(r.AsksPerplexity, ct);
            await copy.WriteAsync(r.Convention, NpgsqlDbType.Text, ct);
        }

        await copy.CompleteAsync(ct);
    }

    private static async Task AddJobsAsync(NpgsqlConnection connection, Guid matrix, MatrixPlan plan, SharedIds shared, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            """
            copy job (id, matrix_id, device_id, model_id, workload_index, kind, settings, token_file_id, max_attempts, position)
            from stdin (format binary)
            """, ct);
        foreach (var (position, j) in plan.Jobs.Index())
        {
            await copy.StartRowAsync(ct);
            await copy.WriteAsync(j.Id, ct);
            await copy.WriteAsync(matrix, ct);
            await copy.WriteAsync(j.DeviceId, ct);
            await copy.WriteAsync(j.ModelId, ct);
            await copy.WriteAsync(j.WorkloadIndex, ct);
            await copy.WriteAsync(j.Kind, ct);
            await copy.WriteAsync(Json.Write(j.Settings), NpgsqlDbType.Jsonb, ct);
            await WriteAsync(copy, j.DatasetId is { } d ? shared.Tokens[new PlannedTokens(j.ModelId, d)] : null, ct);
            await copy.WriteAsync(plan.MaxAttempts, ct);
            await copy.WriteAsync(position, ct);
        }

        await copy.CompleteAsync(ct);
    }

    private static async Task AddBlocksAsync(NpgsqlConnection connection, MatrixPlan plan, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            "copy block (job_id, index, run_id, precision, kind, round) from stdin (format binary)", ct);
        foreach (var job in plan.Jobs)
        {
            foreach (var b in job.Blocks)
            {
                await copy.StartRowAsync(ct);
                await copy.WriteAsync(job.Id, ct);
                await copy.WriteAsync(b.Index, ct);
                await copy.WriteAsync(b.RunId, ct);
                await copy.WriteAsync(b.Precision, ct);
                await copy.WriteAsync(b.Kind, ct);
                await copy.WriteAsync(b.Round, ct);
            }
        }

        await copy.CompleteAsync(ct);
    }

    private static Task WriteAsync(NpgsqlBinaryImporter copy, Guid? id, CancellationToken ct) =>
        id is { } value ? copy.WriteAsync(value, ct) : copy.WriteNullAsync(ct);

    private sealed record SharedIds(Dictionary<PlannedPack, Guid> Packs, Dictionary<PlannedTokens, Guid> Tokens);

    /// <summary>Packs, token files and scores that may be there already, each with the one node job that makes it.</summary>
    private sealed class SharedWork(NpgsqlConnection connection, Guid matrix)
    {
        public async Task<SharedIds> AddAsync(MatrixPlan plan)
        {
            var packs = new Dictionary<PlannedPack, Guid>();
            var tokens = new Dictionary<PlannedTokens, Guid>();
            foreach (var t in plan.Tokens.OrderBy(t => t.ModelId).ThenBy(t => t.DatasetId))
                tokens[t] = await TokensAsync(t);
            foreach (var pack in plan.Packs.OrderBy(p => p.ModelId).ThenBy(p => p.Precision, StringComparer.Ordinal))
                packs[pack] = await PackAsync(pack, plan, tokens);
            foreach (var s in plan.Scores)
                await ScoreAsync(s, packs[new PlannedPack(s.ModelId, s.Precision)], tokens[new PlannedTokens(s.ModelId, s.DatasetId)]);
            return new SharedIds(packs, tokens);
        }

        private async Task<Guid> PackAsync(PlannedPack pack, MatrixPlan plan, Dictionary<PlannedTokens, Guid> tokens)
        {
            var precision = Precision.Parse(pack.Precision);
            var order = PackOrder.For(precision, plan.GroupSize, plan.Calibration?.Sha256);
            var calibration = plan.Calibration is not null && precision.UsesCalibration ? tokens[new PlannedTokens(pack.ModelId, plan.Calibration!.Id)] : (Guid?)null;
            var id = await connection.QuerySingleAsync<Guid>(
                """
                insert into pack (id, model_id, precision, recipe, recipe_sha, calibration_id)
                values (@id, @ModelId, @Precision, @Text, @Sha256, @calibration)
                on conflict (model_id, precision, recipe_sha) do update set recipe_sha = excluded.recipe_sha returning id
                """,
                new { id = Guid.CreateVersion7(), pack.ModelId, pack.Precision, order.Text, order.Sha256, calibration });
            await NodeJobAsync("pack", id);
            return id;
        }

        private async Task<Guid> TokensAsync(PlannedTokens tokens)
        {
            var id = await connection.QuerySingleAsync<Guid>(
                """
                insert into token_file (id, model_id, dataset_id) values (@id, @ModelId, @DatasetId)
                on conflict (model_id, dataset_id) do update set model_id = excluded.model_id returning id
                """,
                new { id = Guid.CreateVersion7(), tokens.ModelId, tokens.DatasetId });
            await NodeJobAsync("tokens", id);
            return id;
        }

        private async Task ScoreAsync(PlannedScore score, Guid pack, Guid tokens)
        {
            var id = await connection.QuerySingleAsync<Guid>(
                """
                insert into score (id, pack_id, token_file_id, convention) values (@id, @pack, @tokens, @Convention)
                on conflict (pack_id, token_file_id, convention) do update set convention = excluded.convention returning id
                """,
                new { id = Guid.CreateVersion7(), pack, tokens, score.Convention });
            await NodeJobAsync("score", id);
        }

        /// <summary>One job however many wait for it; one that failed, was cancelled or skipped gets new tries.</summary>
        private Task<int> NodeJobAsync(string kind, Guid subject) => connection.ExecuteAsync(
            """
            with wanted as (
                insert into node_job (id, kind, subject_id) values (@id, @kind, @subject)
                on conflict (kind, subject_id) do update set
                    state = case when node_job.state in ('failed', 'cancelled', 'skipped') then 'waiting' else node_job.state end,
                    attempts = case when node_job.state in ('failed', 'cancelled', 'skipped') then 0 else node_job.attempts end,
                    reason = case when node_job.state in ('failed', 'cancelled', 'skipped') then null else node_job.reason end,
                    not_before = case when node_job.state in ('failed', 'cancelled', 'skipped') then clock_timestamp() else node_job.not_before end
                returning id)
            insert into matrix_node_job (matrix_id, node_job_id) select @matrix, id from wanted on conflict do nothing
            """,
            new { id = Guid.CreateVersion7(), kind, subject, matrix });
    }
}
