using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;
using Npgsql;
using NpgsqlTypes;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>A try of a job.</summary>
public sealed class AttemptRow
{
    public Guid Id { get; init; }
    public Guid JobId { get; init; }
    public Guid DeviceId { get; init; }
    public int Number { get; init; }
    public long Epoch { get; init; }
    public string State { get; init; } = "";
    public string? Reason { get; init; }
    public string Plan { get; init; } = "";
    public string EngineSha256 { get; init; } = "";
    public string? EngineVersion { get; init; }
    public string? EngineBuild { get; init; }
    public string? Isa { get; init; }
    public string? BootId { get; init; }
    public string? Fingerprint { get; init; }
    public string? Kernel { get; init; }
    public string Transport { get; init; } = "";
    public string? Gate { get; init; }
    public long JournalOffset { get; init; }
    public int CollectFailures { get; init; }
    public double Progress { get; init; }
    public DateTimeOffset StartedAt { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }
    public string NodeName { get; init; } = "";
    public string JobKind { get; init; } = "";
}

/// <summary>A new attempt, before the engine starts.</summary>
public sealed record NewAttempt(
    Guid Id, Guid JobId, string Plan, string EngineSha256, string EngineVersion, string? Fingerprint, string? Kernel, string? BootId,
    string Transport, string? Gate);

/// <summary>What a block of an attempt came to.</summary>
/// <param name="RowShare">Of a pruned pack's timing block: rows x layers that ran, as a share of all.</param>
public sealed record StagedBlock(
    int Index, string State, string? Reason, int? Tokens, double? LoadMs, long? PeakRss, IReadOnlyList<long> Ns, IReadOnlyList<long> WarmupNs,
    double? RowShare = null);

/// <summary>One window's NLLs of a run, with a byte a target for a pruned pack: 1 where the predicting position stayed.</summary>
public sealed record StagedWindow(Guid RunId, int Window, float[] Nll, byte[]? Survivors = null);

/// <summary>A run's figures of one kind.</summary>
public sealed record StagedResult(Guid RunId, string Kind, string Figures, string? Grade);

/// <summary>Everything an attempt brought home.</summary>
public sealed record StagedOutcome(IReadOnlyList<StagedBlock> Blocks, IReadOnlyList<StagedWindow> Windows, IReadOnlyList<StagedResult> Results);

/// <summary>Rows of attempts: start, progress, staging, acceptance. Every write carries the lease's epoch.</summary>
public sealed class AttemptStore(Database database, NodeIdentity node)
{
    private const string Fence = "fence as (select 1 from device where id = @DeviceId and epoch = @Epoch and lease_node = @node for share)";

    /// <summary>The attempt that may still run on the board; null: none.</summary>
    public Task<AttemptRow?> LiveAsync(Guid deviceId, CancellationToken ct) =>
        database.FirstAsync<AttemptRow>(
            "select * from attempt where device_id = @deviceId and state in ('starting', 'running')", new { deviceId }, ct);

    /// <summary>Those of the given attempts of a device that have ended here.</summary>
    public Task<List<Guid>> EndedAsync(Guid deviceId, Guid[] attempts, CancellationToken ct) =>
        database.QueryAsync<Guid>(
            "select id from attempt where device_id = @deviceId and id = any(@attempts) and state not in ('starting', 'running')",
            new { deviceId, attempts }, ct);

    /// <summary>Writes the attempt before the engine starts, and marks its job as running.</summary>
    /// <exception cref="LeaseLostException">The lease is lost.</exception>
    public async Task StartAsync(DeviceLease lease, NewAttempt a, CancellationToken ct)
    {
        var changed = await database.ExecuteAsync(
            $"""
            with {Fence}, started as (
                update job set state = 'running', attempts = attempts + 1, reason = null,
                    started_at = coalesce(started_at, clock_timestamp())
                from fence where job.id = @JobId and job.state = 'waiting' and job.attempts < job.max_attempts
                returning job.id, job.attempts)
            insert into attempt (id, job_id, device_id, number, node_id, epoch, plan, engine_sha256, engine_version, fingerprint, kernel,
                boot_id, transport, gate)
            select @Id, id, @DeviceId, attempts, @node, @Epoch, @Plan, @EngineSha256, @EngineVersion, @Fingerprint, @Kernel,
                @BootId, @Transport, @Gate::jsonb
            from started
            """,
            new
            {
                lease.DeviceId,
                lease.Epoch,
                node = node.Id,
                a.Id,
                a.JobId,
                a.Plan,
                a.EngineSha256,
                a.EngineVersion,
                a.Fingerprint,
                a.Kernel,
                a.BootId,
                a.Transport,
                a.Gate,
            },
            ct);
        if (changed == 0)
            throw new LeaseLostException($"attempt {a.Id} was not started: its job no longer waits, or {new LeaseLostException(lease).Message}");
    }

    /// <summary>The engine runs, or a new owner follows it.</summary>
    public Task RunningAsync(DeviceLease lease, Guid attempt, CancellationToken ct) =>
        WriteAsync(lease, attempt, "state = 'running', epoch = @Epoch, node_id = @node", null, ct);

    /// <summary>Its results could not be brought home or do not make sense.</summary>
    public Task CollectFailedAsync(DeviceLease lease, Guid attempt, CancellationToken ct) =>
        WriteAsync(lease, attempt, "collect_failures = collect_failures + 1", null, ct);

    /// <summary>What the engine said about itself in its first event.</summary>
    public Task DescribeAsync(DeviceLease lease, Guid attempt, string? version, string? build, string? isa, string? bootId, CancellationToken ct) =>
        WriteAsync(
            lease, attempt,
            "engine_version = coalesce(@version, engine_version), engine_build = @build, isa = @isa, boot_id = coalesce(@bootId, boot_id)",
            new { version, build, isa, bootId }, ct);

    /// <summary>Journal offset, progress and telemetry up to it, in one statement.</summary>
    public async Task ProgressAsync(
        DeviceLease lease, Guid attempt, long offset, double progress, IReadOnlyList<TelemetryPoint> points, CancellationToken ct)
    {
        var changed = await database.ExecuteAsync(
            $"""
            with {Fence}, kept as (
                insert into telemetry (device_id, attempt_id, points) select @DeviceId, @attempt, @points::jsonb from fence where @points::text is not null),
            shown as (
                update job set progress = @progress from fence where job.id = (select job_id from attempt where id = @attempt)),
            seen as (update device set last_seen_at = clock_timestamp() from fence where id = @DeviceId)
            update attempt set journal_offset = @offset, progress = @progress from fence where id = @attempt
            """,
            new
            {
                lease.DeviceId,
                lease.Epoch,
                node = node.Id,
                attempt,
                offset,
                progress,
                points = points.Count == 0 ? null : Json.Write(points),
            },
            ct);
        if (changed == 0)
            throw new LeaseLostException(lease);
    }

    /// <summary>
    /// Brings an attempt's outcome into staging by COPY, without locks. Rows carry the epoch: those of a driver that lost its
    /// lease in the middle are never accepted.
    /// </summary>
    public async Task StageAsync(DeviceLease lease, Guid attempt, StagedOutcome outcome, CancellationToken ct)
    {
        await using var connection = await database.OpenAsync(ct);
        await ClearAsync(connection, lease, attempt, ct);
        await using (var copy = await connection.BeginBinaryImportAsync(
            "copy staged_block (attempt_id, epoch, block, state, reason, tokens, load_ms, peak_rss, row_share) from stdin (format binary)", ct))
        {
            foreach (var b in outcome.Blocks)
            {
                await StartRowAsync(copy, attempt, lease, ct);
                await copy.WriteAsync(b.Index, ct);
                await copy.WriteAsync(b.State, ct);
                await copy.WriteAsync(b.Reason, NpgsqlDbType.Text, ct);
                await WriteAsync(copy, b.Tokens, ct);
                await WriteAsync(copy, b.LoadMs, ct);
                await WriteAsync(copy, b.PeakRss, ct);
                await WriteAsync(copy, b.RowShare, ct);
            }

            await copy.CompleteAsync(ct);
        }

        await CopySamplesAsync(connection, lease, attempt, outcome.Blocks, ct);
        await CopyWindowsAsync(connection, lease, attempt, outcome.Windows, ct);
        await CopyResultsAsync(connection, lease, attempt, outcome.Results, ct);
    }

    /// <summary>Accepts what was staged by one server-side statement. A repeated call changes nothing.</summary>
    /// <exception cref="LeaseLostException">The lease is lost; nothing was changed.</exception>
    public async Task AcceptAsync(DeviceLease lease, Guid attempt, string state, string? reason, TimeSpan retryAfter, CancellationToken ct)
    {
        var answer = await database.FirstAsync<string>(
            "select accept_attempt(@attempt, @node, @Epoch, @state, @reason, @retryAfter)",
            new { attempt, node = node.Id, lease.Epoch, state, reason = reason is { Length: > 1000 } ? reason[..1000] : reason, retryAfter }, ct);
        if (answer == "lease lost")
            throw new LeaseLostException(lease);
    }

    private static Task<int> ClearAsync(NpgsqlConnection connection, DeviceLease lease, Guid attempt, CancellationToken ct) =>
        Dapper.SqlMapper.ExecuteAsync(connection, new Dapper.CommandDefinition(
            """
            delete from staged_block where attempt_id = @attempt and epoch <= @Epoch;
            delete from staged_sample where attempt_id = @attempt and epoch <= @Epoch;
            delete from staged_nll where attempt_id = @attempt and epoch <= @Epoch;
            delete from staged_result where attempt_id = @attempt and epoch <= @Epoch;
            """,
            new { attempt, lease.Epoch }, cancellationToken: ct));

    private static async Task CopySamplesAsync(
        NpgsqlConnection connection, DeviceLease lease, Guid attempt, IReadOnlyList<StagedBlock> blocks, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            "copy staged_sample (attempt_id, epoch, block, warmup, index, ns) from stdin (format binary)", ct);
        foreach (var b in blocks)
        {
            foreach (var (warmup, values) in new[] { (false, b.Ns), (true, b.WarmupNs) })
            {
                foreach (var (index, ns) in values.Index())
                {
                    await StartRowAsync(copy, attempt, lease, ct);
                    await copy.WriteAsync(b.Index, ct);
                    await copy.WriteAsync(warmup, ct);
                    await copy.WriteAsync(index, ct);
                    await copy.WriteAsync(ns, ct);
                }
            }
        }

        await copy.CompleteAsync(ct);
    }

    private static async Task CopyWindowsAsync(
        NpgsqlConnection connection, DeviceLease lease, Guid attempt, IReadOnlyList<StagedWindow> windows, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            "copy staged_nll (attempt_id, epoch, run_id, window_index, nll, survivors) from stdin (format binary)", ct);
        foreach (var w in windows)
        {
            await StartRowAsync(copy, attempt, lease, ct);
            await copy.WriteAsync(w.RunId, ct);
            await copy.WriteAsync(w.Window, ct);
            await copy.WriteAsync(FloatBytes.Write(w.Nll), ct);
            await copy.WriteAsync(w.Survivors, NpgsqlDbType.Bytea, ct);
        }

        await copy.CompleteAsync(ct);
    }

    private static async Task CopyResultsAsync(
        NpgsqlConnection connection, DeviceLease lease, Guid attempt, IReadOnlyList<StagedResult> results, CancellationToken ct)
    {
        await using var copy = await connection.BeginBinaryImportAsync(
            "copy staged_result (attempt_id, epoch, run_id, kind, figures, grade) from stdin (format binary)", ct);
        foreach (var r in results)
        {
            await StartRowAsync(copy, attempt, lease, ct);
            await copy.WriteAsync(r.RunId, ct);
            await copy.WriteAsync(r.Kind, ct);
            await copy.WriteAsync(r.Figures, NpgsqlDbType.Jsonb, ct);
            await copy.WriteAsync(r.Grade, NpgsqlDbType.Jsonb, ct);
        }

        await copy.CompleteAsync(ct);
    }

    private static async Task StartRowAsync(NpgsqlBinaryImporter copy, Guid attempt, DeviceLease lease, CancellationToken ct)
    {
        await copy.StartRowAsync(ct);
        await copy.WriteAsync(attempt, ct);
        await copy.WriteAsync(lease.Epoch, ct);
    }

    private static Task WriteAsync<T>(NpgsqlBinaryImporter copy, T? value, CancellationToken ct) where T : struct =>
        value is { } v ? copy.WriteAsync(v, ct) : copy.WriteNullAsync(ct);

    private async Task WriteAsync(DeviceLease lease, Guid attempt, string assignments, object? values, CancellationToken ct)
    {
        var parameters = new Dapper.DynamicParameters(values);
        parameters.AddDynamicParams(new { lease.DeviceId, lease.Epoch, node = node.Id, attempt });
        var changed = await database.ExecuteAsync(
            $"with {Fence} update attempt set {assignments} from fence where id = @attempt and state in ('starting', 'running')", parameters, ct);
        if (changed == 0)
            throw new LeaseLostException(lease);
    }
}
