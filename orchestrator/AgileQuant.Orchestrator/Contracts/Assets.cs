using AgileQuant.Engine;

namespace AgileQuant.Orchestrator.Contracts;

/// <summary>An imported model.</summary>
public sealed record ModelView(
    Guid Id, string Name, string Architecture, long Parameters, int Layers, int Dimension, int ContextLength, int VocabularySize,
    bool RandomWeights, bool HasTokenizer, string Sha256, long Bytes, DateTimeOffset CreatedAt, IReadOnlyList<PackView> Packs);

/// <summary>A packed model.</summary>
/// <param name="Calibration">What it is calibrated on; null: its precision needs none.</param>
public sealed record PackView(
    string Precision, string State, string? Reason, string? Sha256, long? Bytes, string Recipe, CalibrationView? Calibration = null);

/// <summary>The text that a pack is calibrated on.</summary>
/// <param name="Dataset">Its name.</param>
/// <param name="TextSha256">SHA-256 of the text.</param>
/// <param name="TokensSha256">SHA-256 of its ids under the model's vocabulary; null: not tokenized yet.</param>
/// <param name="Windows">Windows used, spread evenly over the text; null: not packed yet.</param>
/// <param name="Context">Ids in a window.</param>
public sealed record CalibrationView(string Dataset, string TextSha256, string? TokensSha256, int? Windows, int? Context)
{
    /// <summary>For instance <c>docs-train, 64 windows of 512 ids, tokens 3f2a…</c>.</summary>
    public string Describe() => Dataset
        + (Windows is { } windows && Context is { } context ? $", {windows} windows of {context} ids" : "")
        + (TokensSha256 is { Length: >= 12 } sha ? $", tokens {sha[..12]}…" : ", not tokenized yet");
}

/// <summary>An evaluation text.</summary>
public sealed record DatasetView(Guid Id, string Name, long Bytes, string Sha256, string Format, DateTimeOffset CreatedAt);

/// <summary>An engine binary for a target.</summary>
public sealed record EngineView(string Target, string Version, string Build, string Sha256, long Bytes, DateTimeOffset CreatedAt, bool Current);

/// <summary>A shape of random models.</summary>
/// <param name="Name">What <see cref="IAssetService.CreateRandomModelAsync"/> takes.</param>
/// <param name="FileBytes">Size of the model's file on the node's disk; each pack of it comes on top, fp16 as large again.</param>
/// <param name="MemoryBytes">What an fp16 run of 512 tokens needs on a board.</param>
/// <param name="Problem">Why it cannot be made on this node now; null: it can.</param>
public sealed record RandomShapeView(string Name, string Architecture, long Parameters, long FileBytes, long MemoryBytes, string? Problem);

/// <summary>Imports and lists models, datasets and engines. Paths are on the node's machine.</summary>
public interface IAssetService
{
    Task<IReadOnlyList<ModelView>> ListModelsAsync(CancellationToken ct = default);

    /// <summary>Imports a Hugging Face folder or a .gguf. The same content under the same name is returned as it is.</summary>
    Task<ModelView> ImportModelAsync(string path, string name, IProgress<ModelProgress>? progress = null, CancellationToken ct = default);

    /// <summary>The shapes that random models can have, the smallest first, with what each takes here.</summary>
    Task<IReadOnlyList<RandomShapeView>> ListRandomShapesAsync(CancellationToken ct = default);

    /// <summary>Generates a random-weight model for speed only. Throws <see cref="UserErrorException"/> where the disk has no room for it.</summary>
    /// <param name="shape">A preset's name, for instance <c>demo-150m</c>.</param>
    Task<ModelView> CreateRandomModelAsync(string shape, string name, int seed, IProgress<ModelProgress>? progress = null, CancellationToken ct = default);

    Task<IReadOnlyList<DatasetView>> ListDatasetsAsync(CancellationToken ct = default);

    /// <summary>Imports a text. <paramref name="format"/>: <c>text</c> (as it is) or <c>wikitext-gptq</c>.</summary>
    Task<DatasetView> ImportDatasetAsync(string path, string name, string format = "text", CancellationToken ct = default);

    Task<IReadOnlyList<EngineView>> ListEnginesAsync(CancellationToken ct = default);

    /// <summary>Adds an engine binary and makes it the current one of its target; boards are self-tested again.</summary>
    Task<EngineView> AddEngineAsync(string path, CancellationToken ct = default);
}
