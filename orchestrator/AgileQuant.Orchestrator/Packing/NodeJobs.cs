using AgileQuant.Agent.Protocol;
using AgileQuant.Engine;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>Does one claimed job of a node: packs a model, tokenizes a text, or scores a whole text.</summary>
public sealed class NodeJobs(NodeJobStore jobs, AssetStore assets, ArtifactStore store, ArtifactFetcher artifacts, LocalEngine engine, OrchestratorOptions options)
{
    /// <returns>False: the claim was lost in the meantime and nothing was stored.</returns>
    public Task<bool> DoAsync(NodeJobRow job, IProgress<double> progress, CancellationToken ct) => job.Kind switch
    {
        "pack" => PackAsync(job, progress, ct),
        "tokens" => TokenizeAsync(job, ct),
        "score" => ScoreAsync(job, progress, ct),
        _ => throw new InvalidOperationException($"unknown node job '{job.Kind}'"),
    };

    private async Task<bool> PackAsync(NodeJobRow job, IProgress<double> progress, CancellationToken ct)
    {
        var pack = await assets.PackAsync(job.SubjectId, ct) ?? throw new InvalidOperationException("the pack's row is gone");
        var model = await assets.ModelAsync(pack.ModelId, ct) ?? throw new InvalidOperationException("the model's row is gone");
        var recipe = RecipeOf(pack);
        var temporary = store.NewTemporaryFile();
        try
        {
            var source = await artifacts.PathAsync(model.Sha256, ct);
            var result = await Task.Run(() => Packer.Pack(source, recipe, temporary, progress: progress, cancellation: ct), ct);
            store.Adopt(temporary, result.Sha256);
            return await jobs.FinishPackAsync(job, result.Sha256, result.Bytes, ct);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    private async Task<bool> TokenizeAsync(NodeJobRow job, CancellationToken ct)
    {
        var file = await assets.TokenFileAsync(job.SubjectId, ct) ?? throw new InvalidOperationException("the token file's row is gone");
        var model = await assets.ModelAsync(file.ModelId, ct) ?? throw new InvalidOperationException("the model's row is gone");
        var dataset = await assets.DatasetAsync(file.DatasetId, ct) ?? throw new InvalidOperationException("the dataset's row is gone");
        var temporary = store.NewTemporaryFile();
        try
        {
            var text = await File.ReadAllTextAsync(await artifacts.PathAsync(dataset.Sha256, ct), ct);
            var source = await artifacts.PathAsync(model.Sha256, ct);
            var (sha, count) = await Task.Run(() => Tokenize(source, text, temporary), ct);
            var bytes = new FileInfo(temporary).Length;
            store.Adopt(temporary, sha);
            return await jobs.FinishTokensAsync(job, sha, bytes, count, ct);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    private static (string Sha, int Count) Tokenize(string model, string text, string destination)
    {
        var tokenizer = Tokenizer.Load(model);
        var ids = tokenizer.Encode(text);
        return (TokenFile.Write(destination, ids, tokenizer.VocabularySize, tokenizer.BosId, tokenizer.AddsBos), ids.Length);
    }

    private async Task<bool> ScoreAsync(NodeJobRow job, IProgress<double> progress, CancellationToken ct)
    {
        var input = await jobs.ScoreInputAsync(job.SubjectId, ct) ?? throw new InvalidOperationException("the score's row is gone");
        foreach (var sha in new[] { input.PackSha256, input.TokensSha256 })
            await BringOrMakeAgainAsync(sha, ct);
        var target = LocalEngine.Target ?? throw new UnrepeatableException("this node's machine has no engine target, so it cannot score");
        var binary = await assets.CurrentEngineAsync(target, ct)
            ?? throw new InvalidOperationException($"there is no engine for {target}: bench engine build --target {target}");
        var convention = Engine.PerplexityConvention.Parse(input.Convention);
        var windows = convention.WindowCount(TokenFile.Read(store.PathOf(input.TokensSha256)).Ids.Count);
        if (windows == 0)
            throw new UnrepeatableException($"the text has less than one window of {convention.N} tokens: use a longer text or shorter windows");
        var root = store.NewScratchFolder($"score-{job.Id}");
        try
        {
            var plan = PlanFor(job, input, convention, windows);
            var done = 0;
            var run = await engine.RunAsync(binary.Sha256, plan, root, e => progress.Report(e is WindowEvent ? ++done / (double)windows : 0), ct);
            var block = run.Result.Blocks.FirstOrDefault(b => b.State == "done" && b.NllFile is not null)
                ?? throw new InvalidOperationException("the engine scored nothing");
            var nlls = FloatBytes.ReadWindows(Path.Combine(run.JobFolder, Path.GetFileName(block.NllFile!)), windows, convention.Targets);
            var figures = new ScoreFigures(PerplexityFigures.Perplexity(nlls), null);
            return await jobs.FinishScoreAsync(job, nlls, Json.Write(figures), binary.Sha256, run.Result.Isa, ct);
        }
        finally
        {
            Directory.Delete(root, true);
        }
    }

    /// <summary>A pack or token file that no node has any more is made again; the score waits for it and is then tried again.</summary>
    private async Task BringOrMakeAgainAsync(string sha, CancellationToken ct)
    {
        try
        {
            await artifacts.PathAsync(sha, ct);
        }
        catch (FileNotFoundException missing)
        {
            if (!await jobs.RemakeAsync(sha, ct))
                throw;
            throw new InvalidOperationException(missing.Message, missing);
        }
    }

    private JobPlan PlanFor(NodeJobRow job, ScoreInput input, Engine.PerplexityConvention convention, int windows) => new()
    {
        Attempt = $"score-{job.Id}",
        Kind = JobKind.Perplexity,
        Threads = options.ScoreThreads > 0 ? options.ScoreThreads : Environment.ProcessorCount,
        Context = convention.N,
        Packs = [new PlanPack(input.Precision, input.PackSha256)],
        Blocks = [new PlanBlock(0, input.Precision, BlockKind.Perplexity, 1, 1)],
        Perplexity = EnginePlan.PerplexityOf(input.TokensSha256, convention, windows),
        TelemetryMilliseconds = 2000,
    };

    private static PackRecipe RecipeOf(PackRow pack)
    {
        using var json = System.Text.Json.JsonDocument.Parse(pack.Recipe);
        var group = json.RootElement.TryGetProperty("group_size", out var g) ? g.GetInt32() : 32;
        var recipe = PackRecipe.For(Precision.Parse(pack.Precision), group);
        return recipe.ToCanonicalJson() == pack.Recipe
            ? recipe
            : throw new UnrepeatableException($"the recipe {pack.Recipe} is of another version of AgileQuant.Bench");
    }
}

/// <summary>Trying again would fail again.</summary>
public sealed class UnrepeatableException : Exception
{
    public UnrepeatableException()
    {
    }

    public UnrepeatableException(string message)
        : base(message)
    {
    }

    public UnrepeatableException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
