using AgileQuant.Engine;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Quantization;

/// <summary>Packs the recipes of an ablation one after the other and scores them with the native engine.</summary>
/// <param name="model">The model; packs lie beside it.</param>
/// <param name="text">What is scored.</param>
/// <param name="engine">The binary.</param>
/// <param name="note">Progress, a line for people.</param>
internal sealed class AblationRun(LocalModel model, TokenData text, string engine, Action<string> note)
{
    /// <param name="steps">The recipes, fp16 and every dense recipe among them.</param>
    /// <param name="calibration">null: no step needs it.</param>
    /// <param name="lengths">Ids in a window.</param>
    /// <param name="windows">Windows at the longest length.</param>
    /// <param name="ct">Stops between recipes.</param>
    /// <exception cref="BenchException">The text is too short, or the engine failed.</exception>
    public async Task<IReadOnlyList<AblationRow>> RunAsync(
        IReadOnlyList<AblationStep> steps, TokenData? calibration, IReadOnlyList<int> lengths, int windows, CancellationToken ct)
    {
        var context = ModelImporter.Inspect(model.Path).ContextLength;
        if (lengths.Max() > context)
            throw new BenchException($"the model's context is {context}; --lengths asks for {lengths.Max()}");
        var ids = lengths.Max() * windows;
        if (windows < 1 || text.Ids.Count < ids)
            throw new BenchException($"the text has {text.Ids.Count} ids; {windows} windows of {lengths.Max()} need {ids}: give fewer windows or a longer text");

        var tokens = model.Beside("text.aqtk");
        var sha256 = TokenFile.Write(tokens, text.Ids, text.VocabularySize, text.BosId, text.AddsBos);
        if (calibration is not null && TokenFile.HashOf(calibration) == sha256)
            throw new BenchException("the calibration text is the text that is scored; give another one");
        var packs = await PackAsync(steps, calibration, context, ct);
        var rows = new List<AblationRow>();
        foreach (var length in lengths)
        {
            note($"scoring {steps.Count} recipes at {length} ids");
            var scores = await PerplexityJob.RunAsync(
                engine, model.Beside($"job-{length}"), packs, (sha256, tokens), new PerplexityConvention("gptq", length), ids / length, ct);
            var byName = steps.Select((s, i) => (s.Precision, scores[i].Nlls)).ToDictionary(s => s.Precision, s => s.Nlls);
            rows.AddRange(steps.Select((s, i) => Ablation.Row(
                s, length, scores[i].Nlls, byName[Precision.Fp16], byName.GetValueOrDefault(s.Dense, scores[i].Nlls), scores[i].Survivors)));
        }

        return rows;
    }

    private async Task<List<(string Name, string Sha256, string Path)>> PackAsync(
        IReadOnlyList<AblationStep> steps, TokenData? calibration, int context, CancellationToken ct)
    {
        var packs = new List<(string Name, string Sha256, string Path)>();
        var used = calibration is null ? null : CalibrationText.For(calibration, context);
        foreach (var precision in steps.Select(s => s.Precision))
        {
            note($"packing {precision} ({packs.Count + 1} of {steps.Count})");
            var path = model.Beside($"{precision}.gguf");
            var recipe = PackRecipe.For(precision, 32, used);
            var pack = await Task.Run(() => Packer.Pack(model.Path, recipe, path, calibration, null, ct), ct);
            packs.Add((precision.ToString(), pack.Sha256, path));
        }

        return packs;
    }
}
