using AgileQuant.Agent.Protocol;
using AgileQuant.Engine;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Driving;
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
        var calibration = await CalibrationAsync(pack, ct);
        var recipe = RecipeOf(pack, model, calibration);
        var needed = PackMemory.Needed(model.Shape, calibration is not null, recipe.Calibration?.Windows ?? 0, recipe.Calibration?.Context ?? 0);
        if (PackMemory.Problem($"{model.Name} as {pack.Precision}", needed, PackMemory.Available()) is { } problem)
            throw new InvalidOperationException(problem); // tried again: memory may become free, or another node may have more
        var temporary = store.NewTemporaryFile();
        try
        {
            var source = await artifacts.PathAsync(model.Sha256, ct);
            using var bound = CancellationTokenSource.CreateLinkedTokenSource(ct);
            bound.CancelAfter(options.PackTimeLimit);
            var result = await Task.Run(() => Packer.Pack(source, recipe, temporary, calibration, progress, bound.Token), ct);
            store.Adopt(temporary, result.Sha256);
            return await jobs.FinishPackAsync(job, result.Sha256, result.Bytes, recipe.ToCanonicalJson(), ct);
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new UnrepeatableException($"packing took longer than {options.PackTimeLimit.TotalHours:0.#} h, the most that is allowed: use a faster node", e);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>The ids that a pack is calibrated on; null when its precision needs none.</summary>
    private async Task<TokenData?> CalibrationAsync(PackRow pack, CancellationToken ct)
    {
        if (pack.CalibrationId is null)
            return null;
        var sha = pack.CalibrationTokensSha256 ?? throw new InvalidOperationException("the calibration text is not tokenized yet");
        await BringOrMakeAgainAsync(sha, ct);
        return TokenFile.Read(store.PathOf(sha));
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
            var (sha, count) = await Task.Run(() => model.HasTokenizer ? Tokenize(source, text, temporary) : RandomIds(model, temporary), ct);
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

    /// <summary>Stands for a text where the model has random weights and no vocabulary: any ids calibrate it for its speed.</summary>
    private static (string Sha, int Count) RandomIds(ModelRow model, string destination)
    {
        if (!model.RandomWeights)
            throw new UnrepeatableException($"model {model.Name} has no tokenizer: import it with one");
        var ids = new int[CalibrationText.DefaultWindows * CalibrationText.DefaultContext];
        ulong state = 1;
        for (var i = 0; i < ids.Length; i++)
        {
            state = (state * 6364136223846793005) + 1442695040888963407; // Knuth's linear congruential generator (MMIX)
            ids[i] = (int)((state >> 33) % (ulong)model.VocabularySize);
        }

        return (TokenFile.Write(destination, ids, model.VocabularySize, -1, false), ids.Length);
    }

    private async Task<bool> ScoreAsync(NodeJobRow job, IProgress<double> progress, CancellationToken ct)
    {
        var input = await jobs.ScoreInputAsync(job.SubjectId, ct) ?? throw new InvalidOperationException("the score's row is gone");
        foreach (var sha in new[] { input.PackSha256, input.TokensSha256 })
            await BringOrMakeAgainAsync(sha, ct);
        var target = LocalEngine.Target ?? throw new UnrepeatableException("this node's machine has no engine target, so it cannot score");
        var binary = await assets.CurrentEngineAsync(target, ct)
            ?? throw new InvalidOperationException($"there is no engine for {target}: bench engine build --target {target}");
        if (await engine.WhyNotAsync(binary.Sha256, input.Precision, ct) is { } problem)
            return await jobs.SkipAsync(job, $"the whole text is not scored on this node: {problem}", ct);
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
            var masks = await SurvivorsAsync(run, block, input.Precision, windows, convention.Targets, ct);
            var figures = new ScoreFigures(
                PerplexityFigures.Perplexity(nlls), null,
                masks is null ? null : PerplexityFigures.OnSurvivors(nlls, masks, null, convention.Kind == "gptq"));
            return await jobs.FinishScoreAsync(job, nlls, masks, Json.Write(figures), binary.Sha256, run.Result.Isa, ct);
        }
        finally
        {
            Directory.Delete(root, true);
        }
    }

    /// <summary>The masks that the engine wrote beside the NLLs of a pruned pack; null for others.</summary>
    private static async Task<IReadOnlyList<byte[]>?> SurvivorsAsync(
        LocalRun run, BlockResult block, string precision, int windows, int targets, CancellationToken ct)
    {
        if (!PrecisionNames.IsPruned(precision))
            return null;
        if (block is not { SurvivorsFile: { } name, SurvivorsSha256: { } sha })
            throw new UnrepeatableException("the engine said nothing about which tokens survived: build the engine anew (bench engine build)");
        var path = Path.Combine(run.JobFolder, Path.GetFileName(name));
        return await AttemptOutcome.HasHashAsync(path, sha, ct)
            ? SurvivorBytes.ReadWindows(path, windows, targets)
            : throw new InvalidOperationException($"{name} is not the file that the engine's result names");
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

    /// <summary>The recipe that a pack's order comes to, now that its calibration tokens are there.</summary>
    private static PackRecipe RecipeOf(PackRow pack, ModelRow model, TokenData? calibration)
    {
        var precision = Precision.Parse(pack.Precision);
        var text = calibration is null ? null : CalibrationText.For(calibration, model.ContextLength);
        var recipe = PackRecipe.For(precision, PackOrder.GroupSizeOf(pack.Recipe), text);
        return PackOrder.For(precision, recipe.GroupSize, pack.CalibrationTextSha256).Sha256 == pack.RecipeSha
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
