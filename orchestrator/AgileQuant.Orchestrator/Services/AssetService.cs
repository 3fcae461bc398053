using AgileQuant.Engine;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Services;

/// <inheritdoc cref="IAssetService"/>
/// <param name="freeBytes">Room in the store; null: as the file system says.</param>
public sealed class AssetService(AssetStore assets, ArtifactStore store, Func<long>? freeBytes = null) : IAssetService
{
    /// <summary>Prompt that a shape's memory is stated for.</summary>
    private const int StatedTokens = 512;

    private static readonly Lazy<IReadOnlyDictionary<string, (long Parameters, long Bytes)>> Sizes = new(
        () => RandomModelShape.Presets.ToDictionary(p => p.Key, p => RandomModel.Measure(p.Value), StringComparer.Ordinal));

    public async Task<IReadOnlyList<ModelView>> ListModelsAsync(CancellationToken ct = default)
    {
        var packs = (await assets.PacksAsync(ct)).ToLookup(p => p.ModelId);
        return [.. (await assets.ModelsAsync(ct)).Select(m => View(m, packs[m.Id]))];
    }

    public Task<ModelView> ImportModelAsync(string path, string name, IProgress<ModelProgress>? progress = null, CancellationToken ct = default)
    {
        SpecRules.Name(name, "The model");
        path = UserFiles.Expand(path);
        if (!Path.Exists(path))
            throw new UserErrorException($"'{path}' is not there on the node's machine: name a Hugging Face folder or a .gguf file.");
        return AddAsync(name, Path.GetFullPath(path), file => ModelImporter.Import(path, file, progress, ct), ct);
    }

    public Task<ModelView> CreateRandomModelAsync(string shape, string name, int seed, IProgress<ModelProgress>? progress = null, CancellationToken ct = default)
    {
        SpecRules.Name(name, "The model");
        if (!RandomModelShape.Presets.TryGetValue(shape, out var known))
            throw new UserErrorException($"There is no shape '{shape}': use one of {string.Join(", ", RandomModelShape.Presets.Keys.Order(StringComparer.Ordinal))}.");
        if (Problem(shape) is { } problem)
            throw new UserErrorException(problem + ".");
        return AddAsync(name, $"random {shape} seed {seed}", file => RandomModel.Write(file, known, seed, progress, ct), ct);
    }

    /// <summary>Counting the sizes builds vocabularies of up to 250,880 words once, so it is done beside the caller.</summary>
    public Task<IReadOnlyList<RandomShapeView>> ListRandomShapesAsync(CancellationToken ct = default) => Task.Run<IReadOnlyList<RandomShapeView>>(
        () => [.. RandomModelShape.Presets.OrderBy(p => Sizes.Value[p.Key].Bytes).Select(p => View(p.Key, p.Value))], ct);

    public async Task<IReadOnlyList<DatasetView>> ListDatasetsAsync(CancellationToken ct = default) =>
        [.. (await assets.DatasetsAsync(ct)).Select(View)];

    public async Task<DatasetView> ImportDatasetAsync(string path, string name, string format = "text", CancellationToken ct = default)
    {
        SpecRules.Name(name, "The dataset");
        path = UserFiles.Expand(path);
        var text = await ReadTextAsync(path, ct);
        text = format switch
        {
            "text" => text,
            "wikitext-gptq" => WikiText.JoinRecords(text),
            _ => throw new UserErrorException($"Unknown dataset format '{format}': use text or wikitext-gptq."),
        };
        var temporary = store.NewTemporaryFile();
        try
        {
            await File.WriteAllTextAsync(temporary, text, ct);
            var (sha, bytes) = await store.AdoptAsync(temporary, ct);
            await assets.AddDatasetAsync(Guid.CreateVersion7(), name, format, sha, bytes, ct);
            var row = (await assets.DatasetAsync(name, ct))!;
            return row.Sha256 == sha ? View(row) : throw Taken("dataset", name);
        }
        catch (Exception e) when (UserFiles.IsFileProblem(e))
        {
            throw UserFiles.Explain(e, $"The dataset '{name}' could not be stored");
        }
        finally
        {
            ArtifactStore.Discard(temporary);
        }
    }

    public async Task<IReadOnlyList<EngineView>> ListEnginesAsync(CancellationToken ct = default) =>
        [.. (await assets.EnginesAsync(ct)).Select(View)];

    public async Task<EngineView> AddEngineAsync(string path, CancellationToken ct = default)
    {
        path = UserFiles.Expand(path);
        if (!File.Exists(path))
            throw new UserErrorException($"'{path}' is not there on the node's machine: bench engine build makes one.");
        if (new FileInfo(path).Length > Limits.EngineBytes)
            throw new UserErrorException($"'{path}' is larger than {Limits.EngineBytes >> 20} MiB: that is no engine.");
        try
        {
            var identity = await EngineIdentity.ReadAsync(path, ct);
            var (sha, bytes) = await store.CopyAsync(path, ct);
            return View(await assets.AddEngineAsync(identity.Target, identity.Version, identity.Build, sha, bytes, ct));
        }
        catch (Exception e) when (UserFiles.IsFileProblem(e))
        {
            throw UserFiles.Explain(e, "The engine could not be added");
        }
    }

    private async Task<ModelView> AddAsync(string name, string source, Func<string, ModelSummary> write, CancellationToken ct)
    {
        var temporary = store.NewTemporaryFile();
        try
        {
            var summary = await Task.Run(() => write(temporary), ct);
            store.Adopt(temporary, summary.Sha256);
            await assets.AddModelAsync(Guid.CreateVersion7(), name, source, summary, ct);
            var row = (await assets.ModelAsync(name, ct))!;
            if (row.Sha256 != summary.Sha256)
                throw Taken("model", name);
            return View(row, (await assets.PacksAsync(ct)).Where(p => p.ModelId == row.Id));
        }
        catch (Exception e) when (e is ModelFormatException or FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UserErrorException(e.Message, e);
        }
        catch (Exception e) when (UserFiles.IsFileProblem(e))
        {
            throw UserFiles.Explain(e, $"The model '{name}' could not be imported");
        }
        finally
        {
            ArtifactStore.Discard(temporary);
        }
    }

    private static async Task<string> ReadTextAsync(string path, CancellationToken ct)
    {
        if (!File.Exists(path))
            throw new UserErrorException($"'{path}' is not there on the node's machine.");
        if (new FileInfo(path).Length > Limits.DatasetBytes)
            throw new UserErrorException($"'{path}' is larger than {Limits.DatasetBytes >> 20} MiB: use a shorter text.");
        try
        {
            var strict = new System.Text.UTF8Encoding(false, throwOnInvalidBytes: true);
            var text = await File.ReadAllTextAsync(path, strict, ct);
            return text.Length > 0 ? text : throw new UserErrorException($"'{path}' is empty.");
        }
        catch (System.Text.DecoderFallbackException e)
        {
            throw new UserErrorException($"'{path}' is not UTF-8 text (byte {e.Index}): convert it first, for example with iconv.", e);
        }
        catch (Exception e) when (UserFiles.IsFileProblem(e))
        {
            throw UserFiles.Explain(e, $"'{path}' could not be read");
        }
    }

    /// <summary>Why a shape cannot be made here; null: it can.</summary>
    private string? Problem(string shape)
    {
        try
        {
            return DiskRoom.Problem($"A random model of the shape {shape}", Sizes.Value[shape].Bytes, freeBytes?.Invoke() ?? store.FreeBytes, store.Folder);
        }
        catch (Exception e) when (UserFiles.IsFileProblem(e))
        {
            return $"How much room {store.Folder} has cannot be asked: {e.Message.TrimEnd('.')}";
        }
    }

    private RandomShapeView View(string name, RandomModelShape shape)
    {
        var (parameters, bytes) = Sizes.Value[name];
        var memory = MemoryFit.Needed(
            bytes, new ModelShape(shape.Layers, shape.Dimension, shape.FeedForward, shape.Heads, shape.KvHeads, shape.VocabularySize), StatedTokens, StatedTokens);
        return new RandomShapeView(name, shape.Architecture.ToString().ToLowerInvariant(), parameters, bytes, memory, Problem(name));
    }

    private static UserErrorException Taken(string what, string name) =>
        new($"There is another {what} '{name}' already, with other content: choose another name.");

    private static ModelView View(ModelRow m, IEnumerable<PackRow> packs) => new(
        m.Id, m.Name, m.Architecture, m.Parameters, m.Layers, m.Dimension, m.ContextLength, m.VocabularySize, m.RandomWeights, m.HasTokenizer,
        m.Sha256, m.Bytes, m.CreatedAt,
        [.. packs.Select(p => new PackView(p.Precision, p.Sha256 is not null ? "done" : p.State ?? "waiting", p.Reason, p.Sha256, p.Bytes, p.Recipe, p.Calibration))]);

    private static DatasetView View(DatasetRow d) => new(d.Id, d.Name, d.Bytes, d.Sha256, d.Format, d.CreatedAt);

    private static EngineView View(EngineRow e) => new(e.Target, e.Version, e.Build, e.Sha256, e.Bytes, e.CreatedAt, e.Current);
}
