using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// Which rows of the calibration windows become low or leave after a layer's attention, and the thresholds that single out the same
/// share at run time.
/// </summary>
/// <param name="wanted">The shares.</param>
/// <param name="mode">How tokens leave.</param>
/// <param name="plan">Gets the thresholds, where it has room for them.</param>
/// <param name="training">So many windows, the first ones, choose thresholds.</param>
internal sealed class TokenSteps(TokenPlan wanted, PruneMode mode, QuantizationPlan plan, int training)
{
    /// <summary>Makes rows low.</summary>
    /// <param name="layer">Its number.</param>
    /// <param name="rows">By window.</param>
    /// <param name="importance">By window and row.</param>
    public void ChooseLow(int layer, TokenRows[] rows, float[][] importance)
    {
        if (plan.LowThresholds is not { } thresholds)
            return;
        thresholds.Choose(layer, Training, w => rows[w].Ids, windows =>
        {
            // Tokens stay low: only what is missing from the share is singled out.
            var candidates = Candidates(windows, rows, importance, (w, r) => !rows[w].IsLow[r]);
            var there = Candidates(windows, rows, importance, (_, _) => true).Count;
            var missing = wanted.LowShares[layer] * (double)there - (there - candidates.Count);
            return missing < 0.5 || candidates.Count == 0 ? 0 : TokenThresholds.ForShare(candidates, missing / candidates.Count);
        });
        for (var w = 0; w < rows.Length; w++)
        {
            for (var r = 0; r < rows[w].Count; r++)
                rows[w].IsLow[r] |= !IsProtected(rows[w], r) && importance[w][r] < thresholds.Of(layer, rows[w].Ids);
        }
    }

    /// <summary>Lets rows leave; arguments as for <see cref="ChooseLow"/>.</summary>
    public void Prune(int layer, TokenRows[] rows, float[][] importance)
    {
        if (mode == PruneMode.None || wanted.KeepShares[layer] >= 1)
            return;
        if (plan.PruneThresholds is { } thresholds)
        {
            thresholds.Choose(layer, Training, w => rows[w].Ids, windows =>
            {
                // Of all tokens, so much may be left after this layer; earlier layers may have missed their share.
                var there = windows.Sum(w => rows[w].Count) / (double)windows.Sum(w => rows[w].Ids.Length);
                return TokenThresholds.ForShare(Candidates(windows, rows, importance, (_, _) => true), 1 - wanted.LeftAfter(layer) / there);
            });
        }

        for (var w = 0; w < rows.Length; w++)
        {
            var window = rows[w];
            var isProtected = Enumerable.Range(0, window.Count).Select(r => IsProtected(window, r)).ToArray();
            var stays = plan.PruneThresholds is { } limits
                ? [.. importance[w].Select((value, r) => isProtected[r] || value >= limits.Of(layer, window.Ids))]
                : TokenThresholds.Paper(importance[w], isProtected, wanted.KeepShares[layer]);
            window.Keep(stays, compact: mode == PruneMode.Paper);
        }
    }

    private List<int> Training => [.. Enumerable.Range(0, training)];

    private static List<float> Candidates(IReadOnlyList<int> windows, TokenRows[] rows, float[][] importance, Func<int, int, bool> may) =>
        [.. windows.SelectMany(w => importance[w].Where((_, r) => !IsProtected(rows[w], r) && may(w, r)))];

    /// <summary>The start token and the last of a window.</summary>
    private static bool IsProtected(TokenRows rows, int row) => rows.Index[row] == 0 || rows.Index[row] == rows.Ids.Length - 1;
}
