using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>A job of a device that may start.</summary>
public sealed class JobRow
{
    public Guid Id { get; init; }
    public Guid MatrixId { get; init; }
    public Guid DeviceId { get; init; }
    public Guid ModelId { get; init; }
    public string Kind { get; init; } = "";
    public string Settings { get; init; } = "";
    public Guid? TokenFileId { get; init; }
    public string State { get; init; } = "";
    public int Attempts { get; init; }
    public int MaxAttempts { get; init; }
    public bool CancelRequested { get; init; }

    public JobSettings SettingsValue => Json.Read<JobSettings>(Settings)!;

    public bool IsTiming => Kind == "timing";
}

/// <summary>A block with its run's pack and what stands in the way.</summary>
public sealed class BlockRow
{
    public int Index { get; init; }
    public Guid RunId { get; init; }
    public string Precision { get; init; } = "";
    public string Kind { get; init; } = "";
    public int Round { get; init; }
    public string State { get; init; } = "";
    public string? Reason { get; init; }
    public Guid? AttemptId { get; init; }
    public int? Tokens { get; init; }
    public double? LoadMs { get; init; }
    public long? PeakRss { get; init; }
    public double? RowShare { get; init; }
    public Guid PackId { get; init; }
    public string? PackSha256 { get; init; }
    public long? PackBytes { get; init; }
    public string? PackReason { get; init; }
}

/// <summary>Samples of accepted blocks.</summary>
public sealed class SampleRow
{
    public int Block { get; init; }
    public bool Warmup { get; init; }
    public int Index { get; init; }
    public long Ns { get; init; }
}

/// <summary>Rows of jobs and blocks.</summary>
public sealed class JobStore(Database database, NodeIdentity node)
{
    private const string Select = "select j.*, m.cancel_requested_at is not null as cancel_requested from job j join matrix m on m.id = j.matrix_id";

    public Task<JobRow?> FindAsync(Guid id, CancellationToken ct) =>
        database.FirstAsync<JobRow>(Select + " where j.id = @id", new { id }, ct);

    /// <summary>The device's next job whose packs and token file are settled (made, or failed for good); null: nothing to do now.</summary>
    public Task<JobRow?> NextAsync(Guid deviceId, CancellationToken ct) =>
        database.FirstAsync<JobRow>(
            Select + """
             where j.device_id = @deviceId and j.state = 'waiting' and j.not_before <= clock_timestamp() and m.cancel_requested_at is null
              and not exists (
                select 1 from block b join run r on r.id = b.run_id
                join node_job n on n.kind = 'pack' and n.subject_id = r.pack_id
                where b.job_id = j.id and n.state in ('waiting', 'running'))
              and not exists (
                select 1 from node_job n where n.kind = 'tokens' and n.subject_id = j.token_file_id and n.state in ('waiting', 'running'))
            order by m.created_at, j.position limit 1
            """,
            new { deviceId }, ct);

    public Task<List<BlockRow>> BlocksAsync(Guid jobId, CancellationToken ct) =>
        database.QueryAsync<BlockRow>(
            """
            select b.*, r.pack_id, p.sha256 as pack_sha256, p.bytes as pack_bytes, n.reason as pack_reason
            from block b join run r on r.id = b.run_id join pack p on p.id = r.pack_id
            left join node_job n on n.kind = 'pack' and n.subject_id = p.id
            where b.job_id = @jobId order by b.index
            """,
            new { jobId }, ct);

    public Task<List<SampleRow>> SamplesAsync(Guid jobId, CancellationToken ct) =>
        database.QueryAsync<SampleRow>(
            """
            select s.block, s.warmup, s.index, s.ns from sample s
            join block b on b.attempt_id = s.attempt_id and b.index = s.block
            where b.job_id = @jobId and b.state = 'done' order by s.block, s.warmup, s.index
            """,
            new { jobId }, ct);

    /// <summary>Records that blocks of a precision can never run here; true when some changed.</summary>
    public async Task MarkImpossibleAsync(DeviceLease lease, Guid jobId, string precision, string reason, CancellationToken ct) =>
        await database.ExecuteAsync(
            """
            with fence as (select 1 from device where id = @DeviceId and epoch = @Epoch and lease_node = @node for share)
            update block set state = 'impossible', reason = @reason from fence
            where job_id = @jobId and precision = @precision and state in ('planned', 'failed')
            """,
            new { lease.DeviceId, lease.Epoch, node = node.Id, jobId, precision, reason }, ct);

    /// <summary>Records that blocks of a precision are left out here, as was known beforehand; a run without other blocks is skipped with them.</summary>
    public Task SkipAsync(DeviceLease lease, Guid jobId, string precision, string reason, CancellationToken ct) =>
        database.ExecuteAsync(
            "select skip_blocks(@DeviceId, @node, @Epoch, @jobId, @precision, @reason)",
            new { lease.DeviceId, lease.Epoch, node = node.Id, jobId, precision, reason }, ct);

    /// <summary>Ends a job without an attempt: nothing of it can run, or it has had its tries. Its runs and matrix are settled with it.</summary>
    public Task EndAsync(DeviceLease lease, Guid jobId, string state, string? reason, CancellationToken ct) =>
        database.ExecuteAsync(
            "select end_job(@DeviceId, @node, @Epoch, @jobId, @state, @reason)",
            new { lease.DeviceId, lease.Epoch, node = node.Id, jobId, state, reason }, ct);

    /// <summary>A try that did not get as far as an attempt: counts, and the job is put off or has failed for good.</summary>
    public Task FailStartAsync(DeviceLease lease, Guid jobId, string reason, TimeSpan wait, CancellationToken ct) =>
        database.ExecuteAsync(
            "select fail_job_start(@DeviceId, @node, @Epoch, @jobId, @reason, @wait)",
            new { lease.DeviceId, lease.Epoch, node = node.Id, jobId, reason, wait }, ct);

    /// <summary>Shows why a waiting job waits.</summary>
    public Task ExplainAsync(DeviceLease lease, Guid jobId, string? reason, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            with fence as (select 1 from device where id = @DeviceId and epoch = @Epoch and lease_node = @node for share)
            update job set reason = @reason from fence where id = @jobId and state = 'waiting' and reason is distinct from @reason
            """,
            new { lease.DeviceId, lease.Epoch, node = node.Id, jobId, reason }, ct);
}
