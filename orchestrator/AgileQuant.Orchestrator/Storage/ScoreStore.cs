using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Figures of a whole text's score, as they stand in score.figures.</summary>
/// <param name="Survivors">Pruned packs only; fp16's part comes with the comparison.</param>
public sealed record ScoreFigures(Estimate Perplexity, Estimate? DeltaPercent, SurvivorView? Survivors = null);

/// <summary>Something that can be compared now: a board's perplexity with the node's score of the same pack.</summary>
public sealed class ComparableResult
{
    public Guid ResultId { get; init; }
    public Guid RunId { get; init; }
    public Guid DeviceId { get; init; }
    public Guid ScoreId { get; init; }
    public string Precision { get; init; } = "";
    public string Model { get; init; } = "";
}

/// <summary>A score and the fp16 score it is compared with.</summary>
public sealed class ComparableScore
{
    public Guid ScoreId { get; init; }
    public Guid BaselineId { get; init; }
    public string Figures { get; init; } = "";
    public string Convention { get; init; } = "";
}

/// <summary>Rows of scores and NLLs, for comparisons.</summary>
public sealed class ScoreStore(Database database)
{
    public Task<List<ComparableResult>> ComparableResultsAsync(CancellationToken ct) =>
        database.QueryAsync<ComparableResult>(
            """
            select x.id as result_id, r.id as run_id, r.device_id, s.id as score_id, r.precision, m.name as model
            from result x join run r on r.id = x.run_id join model m on m.id = r.model_id
            join score s on s.pack_id = r.pack_id and s.token_file_id = r.token_file_id and s.convention = r.convention
            where x.kind = 'perplexity' and x.accepted and x.node_agreement is null and s.figures is not null limit 100
            """,
            null, ct);

    public Task<List<ComparableScore>> ComparableScoresAsync(CancellationToken ct) =>
        database.QueryAsync<ComparableScore>(
            """
            select s.id as score_id, b.id as baseline_id, s.figures, s.convention
            from score s join pack p on p.id = s.pack_id
            join pack f on f.model_id = p.model_id and f.precision = 'fp16'
            join score b on b.pack_id = f.id and b.token_file_id = s.token_file_id and b.convention = s.convention
            where p.precision <> 'fp16' and s.figures is not null and s.figures -> 'deltaPercent' = 'null' and b.figures is not null limit 100
            """,
            null, ct);

    /// <summary>NLLs of a run's windows by window index.</summary>
    public async Task<Dictionary<int, float[]>> RunWindowsAsync(Guid run, CancellationToken ct) =>
        Windows(await database.QueryAsync<WindowRow>("select window_index, nll from nll where run_id = @run order by window_index", new { run }, ct));

    /// <summary>NLLs of a score's windows; with <paramref name="indexes"/> only those.</summary>
    public async Task<Dictionary<int, float[]>> ScoreWindowsAsync(Guid score, IReadOnlyCollection<int>? indexes, CancellationToken ct) =>
        Windows(await database.QueryAsync<WindowRow>(
            """
            select window_index, nll from score_window
            where score_id = @score and (@indexes::int[] is null or window_index = any(@indexes)) order by window_index
            """,
            new { score, indexes = indexes?.ToArray() }, ct));

    /// <summary>Masks of a pruned pack's score in the order of its windows; empty: it prunes nothing.</summary>
    public async Task<IReadOnlyList<byte[]>> ScoreSurvivorsAsync(Guid score, CancellationToken ct) =>
        await database.QueryAsync<byte[]>(
            "select survivors from score_window where score_id = @score and survivors is not null order by window_index", new { score }, ct);

    public Task SetAgreementAsync(Guid result, double difference, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            update result set node_agreement = @difference where id = @result;
            select settle_matrices();
            """,
            new { result, difference }, ct);

    public Task SetFiguresAsync(Guid score, ScoreFigures figures, CancellationToken ct) =>
        database.ExecuteAsync(
            """
            with told as (select pg_notify('agilequant_change', 'matrix:' || l.matrix_id) from matrix_node_job l
                          join node_job n on n.id = l.node_job_id where n.kind = 'score' and n.subject_id = @score)
            update score set figures = @figures::jsonb where id = @score and (select count(*) from told) >= 0;
            select settle_matrices();
            """,
            new { score, figures = Json.Write(figures) }, ct);

    private static Dictionary<int, float[]> Windows(IEnumerable<WindowRow> rows) => rows.ToDictionary(r => r.WindowIndex, r => FloatBytes.Read(r.Nll));

    private sealed class WindowRow
    {
        public int WindowIndex { get; init; }
        public byte[] Nll { get; init; } = [];
    }
}
