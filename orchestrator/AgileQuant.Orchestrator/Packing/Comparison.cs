using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>
/// Compares what can be compared by now: boards' perplexities with the node's scores, and scores with their fp16 score. Works
/// from rows only, so it does not matter which came first, who runs it, or how often.
/// </summary>
public sealed class Comparison(ScoreStore scores, DeviceStore devices)
{
    /// <summary>One pass; true when something was compared.</summary>
    public async Task<bool> RunAsync(CancellationToken ct)
    {
        var results = await scores.ComparableResultsAsync(ct);
        foreach (var result in results)
            await CompareAsync(result, ct);
        var comparable = await scores.ComparableScoresAsync(ct);
        foreach (var score in comparable)
            await CompareAsync(score, ct);
        return results.Count + comparable.Count > 0;
    }

    private async Task CompareAsync(ComparableResult result, CancellationToken ct)
    {
        var board = await scores.RunWindowsAsync(result.RunId, ct);
        var node = await scores.ScoreWindowsAsync(result.ScoreId, board.Keys, ct);
        var common = board.Keys.Where(node.ContainsKey).Order().ToList();
        List<float[]> ours = [.. common.Select(w => board[w])], theirs = [.. common.Select(w => node[w])];
        var largest = Agreement.LargestDifference(ours, theirs);
        if (Agreement.Problem(result.Precision, ours, theirs) is { } problem)
            await devices.QuarantineAsync(result.DeviceId, $"{problem} (model {result.Model})", ct);
        await scores.SetAgreementAsync(result.ResultId, largest, ct);
    }

    private async Task CompareAsync(ComparableScore score, CancellationToken ct)
    {
        var windows = await scores.ScoreWindowsAsync(score.ScoreId, null, ct);
        var baseline = await scores.ScoreWindowsAsync(score.BaselineId, null, ct);
        List<float[]> ours = [.. windows.OrderBy(w => w.Key).Select(w => w.Value)], theirs = [.. baseline.OrderBy(w => w.Key).Select(w => w.Value)];
        var masks = await scores.ScoreSurvivorsAsync(score.ScoreId, ct);
        var figures = Json.Read<ScoreFigures>(score.Figures)! with { DeltaPercent = PerplexityFigures.DeltaPercent(ours, theirs) };
        if (masks.Count > 0)
            figures = figures with { Survivors = PerplexityFigures.OnSurvivors(ours, masks, theirs, Engine.PerplexityConvention.Parse(score.Convention).Kind == "gptq") };
        await scores.SetFiguresAsync(score.ScoreId, figures, ct);
    }
}
