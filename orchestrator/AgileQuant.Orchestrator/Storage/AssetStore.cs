using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>A model row.</summary>
public sealed class ModelRow
{
    public Guid Id { get; init; }
    public string Name { get; init; } = "";
    public string Architecture { get; init; } = "";
    public long Parameters { get; init; }
    public int Layers { get; init; }
    public int Dimension { get; init; }
    public int FeedForward { get; init; }
    public int Heads { get; init; }
    public int KvHeads { get; init; }
    public int ContextLength { get; init; }
    public int VocabularySize { get; init; }
    public bool RandomWeights { get; init; }
    public bool HasTokenizer { get; init; }
    public string Sha256 { get; init; } = "";
    public long Bytes { get; init; }
    public DateTimeOffset CreatedAt { get; init; }

    public ModelShape Shape => new(Layers, Dimension, FeedForward, Heads, KvHeads, VocabularySize);

    /// <summary>It cannot run more positions than its context has.</summary>
    public bool HasLearnedPositions => Architecture == "opt";
}

/// <summary>A pack with the state of the job that makes it.</summary>
public sealed class PackRow
{
    public Guid Id { get; init; }
    public Guid ModelId { get; init; }
    public string Precision { get; init; } = "";
    public string Recipe { get; init; } = "";
    public string? Sha256 { get; init; }
    public long? Bytes { get; init; }
    public string? State { get; init; }
    public string? Reason { get; init; }
    public string RecipeSha { get; init; } = "";
    public Guid? CalibrationId { get; init; }
    public string? CalibrationDataset { get; init; }
    public string? CalibrationTextSha256 { get; init; }
    public string? CalibrationTokensSha256 { get; init; }

    /// <summary>Null: its precision needs no calibration.</summary>
    public CalibrationView? Calibration => CalibrationDataset is null ? null : PackOrder.CalibrationOf(Recipe) is { } used
        ? new CalibrationView(CalibrationDataset, CalibrationTextSha256!, used.TokensSha256, used.Windows, used.Context)
        : new CalibrationView(CalibrationDataset, CalibrationTextSha256!, CalibrationTokensSha256, null, null);
}

/// <summary>An evaluation text.</summary>
public sealed class DatasetRow
{
    public Guid Id { get; init; }
    public string Name { get; init; } = "";
    public string Format { get; init; } = "";
    public string Sha256 { get; init; } = "";
    public long Bytes { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
}

/// <summary>An engine binary.</summary>
public sealed class EngineRow
{
    public Guid Id { get; init; }
    public string Target { get; init; } = "";
    public string Version { get; init; } = "";
    public string Build { get; init; } = "";
    public string Sha256 { get; init; } = "";
    public long Bytes { get; init; }
    public bool Current { get; init; }
    public DateTimeOffset CreatedAt { get; init; }
}

/// <summary>A token file with its text and model.</summary>
public sealed class TokenFileRow
{
    public Guid Id { get; init; }
    public Guid ModelId { get; init; }
    public Guid DatasetId { get; init; }
    public string? Sha256 { get; init; }
    public long? Ids { get; init; }
}

/// <summary>Rows of models, packs, datasets, token files, engines and the artifacts they name.</summary>
public sealed class AssetStore(Database database)
{
    private const string InsertArtifact =
        "insert into artifact (sha256, kind, bytes) values (@sha, @kind, @bytes) on conflict (sha256) do nothing";

    private const string SelectPack = """
        select p.*, n.state, n.reason, d.name as calibration_dataset, d.sha256 as calibration_text_sha256, t.sha256 as calibration_tokens_sha256
        from pack p left join node_job n on n.kind = 'pack' and n.subject_id = p.id
        left join token_file t on t.id = p.calibration_id left join dataset d on d.id = t.dataset_id
        """;

    public Task<List<ModelRow>> ModelsAsync(CancellationToken ct) => database.QueryAsync<ModelRow>("select * from model order by name", null, ct);

    public Task<ModelRow?> ModelAsync(string name, CancellationToken ct) =>
        database.FirstAsync<ModelRow>("select * from model where name = @name", new { name }, ct);

    public Task<ModelRow?> ModelAsync(Guid id, CancellationToken ct) => database.FirstAsync<ModelRow>("select * from model where id = @id", new { id }, ct);

    public Task<List<PackRow>> PacksAsync(CancellationToken ct) =>
        database.QueryAsync<PackRow>(SelectPack + " order by p.model_id, p.created_at, p.precision", null, ct);

    public async Task AddModelAsync(Guid id, string name, string source, ModelSummary m, CancellationToken ct)
    {
        await AddArtifactAsync(m.Sha256, "model", m.Bytes, ct);
        await database.ExecuteAsync(
            """
            insert into model (id, name, architecture, parameters, layers, dimension, feed_forward, heads, kv_heads, context_length,
                vocabulary_size, random_weights, has_tokenizer, source, sha256, bytes)
            values (@id, @name, @Architecture, @Parameters, @Layers, @Dimension, @FeedForward, @Heads, @KvHeads, @ContextLength,
                @VocabularySize, @RandomWeights, @HasTokenizer, @source, @Sha256, @Bytes)
            on conflict (name) do nothing
            """,
            new
            {
                id,
                name,
                source,
                m.Architecture,
                m.Parameters,
                m.Layers,
                m.Dimension,
                m.FeedForward,
                m.Heads,
                m.KvHeads,
                m.ContextLength,
                m.VocabularySize,
                m.RandomWeights,
                m.HasTokenizer,
                m.Sha256,
                m.Bytes,
            },
            ct);
    }

    public Task<List<DatasetRow>> DatasetsAsync(CancellationToken ct) =>
        database.QueryAsync<DatasetRow>("select * from dataset order by name", null, ct);

    public Task<DatasetRow?> DatasetAsync(string name, CancellationToken ct) =>
        database.FirstAsync<DatasetRow>("select * from dataset where name = @name", new { name }, ct);

    public Task<DatasetRow?> DatasetAsync(Guid id, CancellationToken ct) =>
        database.FirstAsync<DatasetRow>("select * from dataset where id = @id", new { id }, ct);

    public async Task AddDatasetAsync(Guid id, string name, string format, string sha, long bytes, CancellationToken ct)
    {
        await AddArtifactAsync(sha, "dataset", bytes, ct);
        await database.ExecuteAsync(
            """
            insert into dataset (id, name, format, sha256, bytes) values (@id, @name, @format, @sha, @bytes)
            on conflict (name) do nothing
            """,
            new { id, name, format, sha, bytes }, ct);
    }

    public Task<List<EngineRow>> EnginesAsync(CancellationToken ct) =>
        database.QueryAsync<EngineRow>("select * from engine order by target, created_at desc", null, ct);

    public Task<EngineRow?> CurrentEngineAsync(string target, CancellationToken ct) =>
        database.FirstAsync<EngineRow>("select * from engine where target = @target and current", new { target }, ct);

    /// <summary>Adds an engine, or finds it, and makes it the current one of its target. Devices of the target are checked again.</summary>
    public async Task<EngineRow> AddEngineAsync(string target, string version, string build, string sha, long bytes, CancellationToken ct)
    {
        await AddArtifactAsync(sha, "engine", bytes, ct);
        await using var connection = await database.OpenAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await Dapper.SqlMapper.ExecuteAsync(
            connection,
            """
            select pg_advisory_xact_lock(hashtextextended('engine:' || @target, 0));
            update engine set current = false where target = @target and current and sha256 <> @sha;
            insert into engine (id, target, version, build, sha256, bytes, current) values (@id, @target, @version, @build, @sha, @bytes, true)
            on conflict (target, sha256) do update set current = true;
            update device set check_requested = check_requested + 1, retry_at = null
            where state <> 'retired' and facts ->> 'target' = @target and engine_sha256 is distinct from @sha;
            """,
            new { id = Guid.CreateVersion7(), target, version, build, sha, bytes }, transaction);
        await transaction.CommitAsync(ct);
        return (await CurrentEngineAsync(target, ct))!;
    }

    /// <summary>Fills in what an engine says of itself, where this machine could not run it.</summary>
    public Task DescribeEngineAsync(string sha, string version, string build, CancellationToken ct) =>
        database.ExecuteAsync(
            "update engine set version = @version, build = @build where sha256 = @sha and version = 'unknown'", new { sha, version, build }, ct);

    public Task<PackRow?> PackAsync(Guid id, CancellationToken ct) => database.FirstAsync<PackRow>(SelectPack + " where p.id = @id", new { id }, ct);

    public Task<TokenFileRow?> TokenFileAsync(Guid id, CancellationToken ct) =>
        database.FirstAsync<TokenFileRow>("select * from token_file where id = @id", new { id }, ct);

    public Task AddArtifactAsync(string sha, string kind, long bytes, CancellationToken ct) =>
        database.ExecuteAsync(InsertArtifact, new { sha, kind, bytes }, ct);
}
