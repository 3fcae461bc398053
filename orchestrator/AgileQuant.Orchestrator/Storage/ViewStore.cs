using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Reads matrices and runs as they are shown.</summary>
public sealed class ViewStore(Database database)
{
    private const string SelectMatrix = """
        select m.id, m.name, m.spec, m.created_by, m.created_at, m.finished_at, m.cancel_requested_at is not null as cancelled,
            c.runs, c.complete, c.failed, c.skipped
        from matrix m cross join lateral (
            select count(*)::int as runs, (count(*) filter (where r.state = 'complete'))::int as complete,
                   (count(*) filter (where r.state in ('incomplete', 'cancelled')))::int as failed,
                   (count(*) filter (where r.state = 'skipped'))::int as skipped
            from run r where r.matrix_id = m.id) c
        """;

    private const string SelectRun = """
        select r.id, r.matrix_id, r.device_id, d.name as device, d.kind as device_kind, d.state as device_state, d.state_reason as device_reason,
            m.name as model, m.random_weights, r.precision, r.workload, r.workload_index, r.state, r.reason, r.convention, p.bytes as pack_bytes, n.state as pack_state,
            sp.figures as speed, sp.grade, pp.figures as perplexity, pp.node_agreement, s.figures as full_figures, s.windows as full_windows,
            exists (select 1 from block b join job j on j.id = b.job_id where b.run_id = r.id and j.state = 'running') as running,
            (select max(j.reason) from block b join job j on j.id = b.job_id where b.run_id = r.id and j.state = 'waiting') as job_reason
        from run r
        join device d on d.id = r.device_id join model m on m.id = r.model_id join pack p on p.id = r.pack_id
        left join node_job n on n.kind = 'pack' and n.subject_id = p.id
        left join result sp on sp.run_id = r.id and sp.kind = 'speed' and sp.accepted
        left join result pp on pp.run_id = r.id and pp.kind = 'perplexity' and pp.accepted
        left join score s on s.pack_id = r.pack_id and s.token_file_id = r.token_file_id and s.convention = r.convention
        """;

    public async Task<IReadOnlyList<MatrixSummaryView>> MatricesAsync(int limit, CancellationToken ct) =>
        [.. (await database.QueryAsync<MatrixRow>(SelectMatrix + " order by m.created_at desc limit @limit", new { limit }, ct)).Select(m => m.ToSummary())];

    /// <summary>Ids by exact id, by a prefix of the id, or by name; the newest first.</summary>
    public Task<List<Guid>> FindMatricesAsync(string idOrName, CancellationToken ct) =>
        database.QueryAsync<Guid>(
            """
            select id from matrix
            where name = @idOrName or (length(@idOrName) >= 4 and id::text like replace(replace(lower(@idOrName), '%', ''), '_', '') || '%')
            order by name = @idOrName desc, created_at desc limit 2
            """,
            new { idOrName }, ct);

    public async Task<MatrixView?> MatrixAsync(Guid id, CancellationToken ct)
    {
        if (await database.FirstAsync<MatrixRow>(SelectMatrix + " where m.id = @id", new { id }, ct) is not { } matrix)
            return null;
        var runs = await database.QueryAsync<RunRow>(
            SelectRun + " where r.matrix_id = @id order by r.workload_index, m.name, d.name",
            new { id }, ct);
        return new MatrixView(matrix.ToSummary(), Json.Read<MatrixSpec>(matrix.Spec)!, InOrder(runs), await JobsAsync(id, ct));
    }

    /// <summary>Within workload, model and device by precision.</summary>
    private static List<RunSummaryView> InOrder(List<RunRow> runs) =>
        [.. runs.GroupBy(r => (r.WorkloadIndex, r.Model, r.Device)).SelectMany(g => PrecisionNames.InOrder(g, r => r.Precision)).Select(r => r.ToView())];

    public async Task<RunSummaryView?> RunAsync(Guid id, CancellationToken ct) =>
        (await database.FirstAsync<RunRow>(SelectRun + " where r.id = @id", new { id }, ct))?.ToView();

    private async Task<IReadOnlyList<JobView>> JobsAsync(Guid matrix, CancellationToken ct)
    {
        var rows = await database.QueryAsync<JobViewRow>(
            """
            select j.id, j.kind, d.name as device, m.name as model, null as precision, j.state, j.reason, j.attempts, j.progress,
                j.created_at, j.started_at, j.finished_at, 1 as rank, j.position
            from job j join device d on d.id = j.device_id join model m on m.id = j.model_id where j.matrix_id = @matrix
            union all
            select n.id, n.kind, null, m.name, coalesce(p.precision, sp.precision), n.state, n.reason, n.attempts, n.progress,
                n.created_at, n.started_at, n.finished_at, 0, 0
            from matrix_node_job l join node_job n on n.id = l.node_job_id
            left join pack p on n.kind = 'pack' and p.id = n.subject_id
            left join token_file t on n.kind = 'tokens' and t.id = n.subject_id
            left join score s on n.kind = 'score' and s.id = n.subject_id left join pack sp on sp.id = s.pack_id
            join model m on m.id = coalesce(p.model_id, t.model_id, sp.model_id)
            where l.matrix_id = @matrix
            order by rank, position, created_at
            """,
            new { matrix }, ct);
        return [.. rows.Select(j => new JobView(
            j.Id, j.Kind, j.Device, j.Model, j.Precision, j.State, j.Reason, j.Attempts, j.Progress, j.CreatedAt, j.StartedAt, j.FinishedAt))];
    }

    private sealed class MatrixRow
    {
        public Guid Id { get; init; }
        public string Name { get; init; } = "";
        public string Spec { get; init; } = "";
        public string CreatedBy { get; init; } = "";
        public DateTimeOffset CreatedAt { get; init; }
        public DateTimeOffset? FinishedAt { get; init; }
        public bool Cancelled { get; init; }
        public int Runs { get; init; }
        public int Complete { get; init; }
        public int Failed { get; init; }
        public int Skipped { get; init; }

        public MatrixSummaryView ToSummary() => new(Id, Name, State, CreatedAt, FinishedAt, Runs, Complete, Failed, CreatedBy, Skipped);

        private MatrixState State => (FinishedAt is not null, Cancelled) switch
        {
            (false, true) => MatrixState.Cancelling,
            (false, false) => MatrixState.Running,
            (true, _) when Complete + Skipped == Runs => MatrixState.Complete,
            (true, true) => MatrixState.Cancelled,
            _ => MatrixState.Incomplete,
        };
    }

    private sealed class RunRow
    {
        public Guid Id { get; init; }
        public Guid MatrixId { get; init; }
        public Guid DeviceId { get; init; }
        public string Device { get; init; } = "";
        public string DeviceKind { get; init; } = "";
        public string DeviceState { get; init; } = "";
        public string? DeviceReason { get; init; }
        public string Model { get; init; } = "";
        public bool RandomWeights { get; init; }
        public string Precision { get; init; } = "";
        public string Workload { get; init; } = "";
        public int WorkloadIndex { get; init; }
        public string State { get; init; } = "";
        public string? Reason { get; init; }
        public string? Convention { get; init; }
        public long? PackBytes { get; init; }
        public string? PackState { get; init; }
        public string? Speed { get; init; }
        public string? Grade { get; init; }
        public string? Perplexity { get; init; }
        public double? NodeAgreement { get; init; }
        public string? FullFigures { get; init; }
        public int? FullWindows { get; init; }
        public bool Running { get; init; }
        public string? JobReason { get; init; }

        public RunSummaryView ToView() => new(
            Id, MatrixId, DeviceId, Device, Enum.Parse<DeviceKind>(DeviceKind, true), Model, RandomWeights, Precision, Workload, RunState(),
            State == "open" ? OpenReason() : Reason, Json.Read<SpeedView>(Speed), PerplexityView(), Json.Read<GradeView>(Grade), PackBytes);

        private RunState RunState() => State switch
        {
            "complete" => Contracts.RunState.Complete,
            "incomplete" => Contracts.RunState.Incomplete,
            "cancelled" => Contracts.RunState.Cancelled,
            "skipped" => Contracts.RunState.Skipped,
            _ when Running => Contracts.RunState.Running,
            _ => PackState switch
            {
                "running" => Contracts.RunState.Packing,
                "done" or "failed" => Contracts.RunState.Queued,
                _ => Contracts.RunState.Waiting,
            },
        };

        private string? OpenReason() => DeviceState is "bad" or "offline" ? $"{Device} is {DeviceState}: {DeviceReason}" : JobReason ?? Reason;

        private PerplexityView? PerplexityView()
        {
            if (Json.Read<PerplexityView>(Perplexity) is not { } view)
                return null;
            var full = Json.Read<ScoreFigures>(FullFigures);
            return view with
            {
                NodeAgreement = NodeAgreement is { } d && double.IsFinite(d) ? d : null,
                Full = full is null ? null : new FullPerplexityView(
                    PerplexityFigures.Name(Convention!, FullWindows ?? 0, true), full.Perplexity.Value, full.Perplexity.StandardError,
                    full.DeltaPercent?.Value, full.DeltaPercent?.StandardError, FullWindows ?? 0, full.Survivors),
            };
        }
    }

    private sealed class JobViewRow
    {
        public Guid Id { get; init; }
        public string Kind { get; init; } = "";
        public string? Device { get; init; }
        public string Model { get; init; } = "";
        public string? Precision { get; init; }
        public string State { get; init; } = "";
        public string? Reason { get; init; }
        public int Attempts { get; init; }
        public double Progress { get; init; }
        public DateTimeOffset CreatedAt { get; init; }
        public DateTimeOffset? StartedAt { get; init; }
        public DateTimeOffset? FinishedAt { get; init; }
    }
}
