using AgileQuant.Agent;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Services;

/// <inheritdoc cref="IRunService"/>
public sealed class RunService(
    Database database, ViewStore views, JobStore jobs, ScoreStore scores, TelemetryStore telemetry, AssetStore assets, IRemoteShellFactory shells) : IRunService
{
    private const int TelemetryShown = 600;

    public async Task<RunDetailView?> FindAsync(Guid runId, CancellationToken ct = default)
    {
        if (await views.RunAsync(runId, ct) is not { } run)
            return null;
        var attempts = await AttemptsAsync(runId, ct);
        var used = attempts.Where(a => a.State is "done" or "lost" or "stopped" or "running").Select(a => a.Id).ToList();
        return new RunDetailView(
            run, await BlocksAsync(run, ct), [.. attempts.Select(View)], await telemetry.OfAttemptsAsync(used, TelemetryShown, ct),
            await WindowsAsync(runId, ct), await ProvenanceAsync(runId, ct));
    }

    private Task<List<AttemptRow>> AttemptsAsync(Guid runId, CancellationToken ct) =>
        database.QueryAsync<AttemptRow>(
            """
            select a.*, n.name as node_name, j.kind as job_kind from attempt a join job j on j.id = a.job_id join node n on n.id = a.node_id
            where a.job_id in (select job_id from block where run_id = @runId) order by a.started_at
            """,
            new { runId }, ct);

    private static AttemptView View(AttemptRow a) =>
        new(a.Id, a.JobKind, a.Number, a.State, a.Reason, a.Epoch, a.NodeName, a.StartedAt, a.FinishedAt);

    /// <summary>This run's finished timing blocks and its baseline's, in the order they ran.</summary>
    private async Task<IReadOnlyList<BlockView>> BlocksAsync(RunSummaryView run, CancellationToken ct)
    {
        var job = await database.FirstAsync<Guid?>(
            "select job_id from block where run_id = @Id and kind <> 'perplexity' limit 1", new { run.Id }, ct);
        if (job is not { } jobId)
            return [];
        var samples = (await jobs.SamplesAsync(jobId, ct)).ToLookup(s => s.Block);
        var shown = (await jobs.BlocksAsync(jobId, ct))
            .Where(b => b.State == "done" && (b.Precision == run.Precision || PrecisionNames.IsBaseline(b.Precision))).ToList();
        var result = new List<BlockView>();
        foreach (var group in shown.GroupBy(b => (b.Precision, b.Kind)))
        {
            var all = group.SelectMany(b => samples[b.Index].Where(s => !s.Warmup).Select(s => (Block: b, Sample: s, Rate: (b.Tokens ?? 0) * 1e9 / s.Ns))).ToList();
            var outliers = Statistics.Outliers([.. all.Select(a => a.Rate)]);
            var marked = all.Zip(outliers).ToLookup(x => x.First.Block.Index, x => new SampleView(x.First.Sample.Index, x.First.Sample.Ns, x.First.Rate, x.Second));
            result.AddRange(group.Select(b => new BlockView(
                b.Index, b.Precision, b.Kind, PrecisionNames.IsBaseline(b.Precision) && !PrecisionNames.IsBaseline(run.Precision), b.Tokens ?? 0, [.. marked[b.Index]],
                samples[b.Index].Count(s => s.Warmup), b.LoadMs)));
        }

        return [.. result.OrderBy(b => b.Index)];
    }

    private async Task<IReadOnlyList<WindowView>> WindowsAsync(Guid runId, CancellationToken ct)
    {
        var own = await scores.RunWindowsAsync(runId, ct);
        if (own.Count == 0)
            return [];
        var baseline = await database.FirstAsync<Guid?>(
            """
            select f.run_id from block b join block f on f.job_id = b.job_id and f.precision = 'fp16' and f.kind = 'perplexity'
            where b.run_id = @runId and b.kind = 'perplexity' and b.precision <> 'fp16' limit 1
            """,
            new { runId }, ct);
        var other = baseline is { } id ? await scores.RunWindowsAsync(id, ct) : [];
        return [.. own.OrderBy(w => w.Key).Select(w => new WindowView(
            w.Key, PerplexityFigures.Mean(w.Value), other.TryGetValue(w.Key, out var nll) ? PerplexityFigures.Mean(nll) : null))];
    }

    /// <summary>From the attempt of the accepted speed, else of the accepted perplexity, else of the newest attempt.</summary>
    private async Task<ProvenanceView> ProvenanceAsync(Guid runId, CancellationToken ct)
    {
        var p = (await database.FirstAsync<ProvenanceRow>(
            """
            select a.engine_version, a.engine_sha256, a.engine_build, a.isa, p.sha256 as pack_sha256, p.recipe, p.id as pack_id, m.sha256 as source_sha256,
                t.sha256 as token_file_sha256, a.plan, a.fingerprint, a.kernel, a.boot_id, a.transport
            from run r join pack p on p.id = r.pack_id join model m on m.id = r.model_id
            left join token_file t on t.id = r.token_file_id
            left join lateral (
                select a.* from attempt a
                left join result x on x.attempt_id = a.id and x.run_id = r.id and x.accepted
                where a.job_id in (select job_id from block where run_id = r.id)
                order by x.kind = 'speed' desc nulls last, x.kind is not null desc, a.started_at desc limit 1) a on true
            where r.id = @runId
            """,
            new { runId }, ct))!;
        return new ProvenanceView(
            p.EngineVersion, p.EngineSha256, p.EngineBuild, p.Isa, p.PackSha256, p.Recipe, p.SourceSha256, p.TokenFileSha256, p.Plan,
            p.Fingerprint, p.Kernel, p.BootId, p.Transport ?? shells.Transport, (await database.ClusterIdAsync(ct)).ToString(),
            (await assets.PackAsync(p.PackId, ct))?.Calibration);
    }

    private sealed class ProvenanceRow
    {
        public string? EngineVersion { get; init; }
        public string? EngineSha256 { get; init; }
        public string? EngineBuild { get; init; }
        public string? Isa { get; init; }
        public string? PackSha256 { get; init; }
        public string? Recipe { get; init; }
        public Guid PackId { get; init; }
        public string? SourceSha256 { get; init; }
        public string? TokenFileSha256 { get; init; }
        public string? Plan { get; init; }
        public string? Fingerprint { get; init; }
        public string? Kernel { get; init; }
        public string? BootId { get; init; }
        public string? Transport { get; init; }
    }
}
