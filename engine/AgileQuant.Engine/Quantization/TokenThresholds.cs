namespace AgileQuant.Engine.Quantization;

/// <summary>Thresholds of importance that single out a wanted share of tokens.</summary>
internal static class TokenThresholds
{
    /// <summary>
    /// The threshold below which a share nearest to the wanted one lies. Importance after a probability quantizer takes few values, so
    /// that not every share can be had.
    /// </summary>
    /// <param name="importance">Of the tokens that may be singled out.</param>
    /// <param name="share">Of all tokens that shall be; at most 0: threshold 0, none.</param>
    public static float ForShare(IReadOnlyCollection<float> importance, double share)
    {
        if (importance.Count == 0 || share <= 0)
            return 0;
        var sorted = importance.Order().ToArray();
        var wanted = Math.Clamp(share * sorted.Length, 0, sorted.Length);
        var (best, distance) = (0f, wanted); // threshold 0 singles out none
        for (var i = 1; i <= sorted.Length; i++)
        {
            if (i < sorted.Length && sorted[i] == sorted[i - 1])
                continue; // a threshold between equals is none
            if (Math.Abs(i - wanted) < distance)
                (best, distance) = (Between(sorted[i - 1], i < sorted.Length ? sorted[i] : float.PositiveInfinity), Math.Abs(i - wanted));
        }

        return best;
    }

    /// <summary>Above the lower, at most the upper.</summary>
    private static float Between(float lower, float upper) =>
        float.IsPositiveInfinity(upper) ? MathF.BitIncrement(lower) : Math.Max(MathF.BitIncrement(lower), lower + (upper - lower) / 2);

    /// <summary>Rows that leave in the paper's way: those of the lowest importance, of equal ones the later; never the first and last.</summary>
    /// <returns>For each row, whether it stays.</returns>
    public static bool[] Paper(ReadOnlySpan<float> importance, bool[] isProtected, float keep)
    {
        var values = importance.ToArray();
        var leaving = (int)MathF.Floor(values.Length * (1 - keep));
        var stays = new bool[values.Length];
        Array.Fill(stays, true);
        foreach (var row in Enumerable.Range(0, values.Length).Where(r => !isProtected[r]).OrderBy(r => values[r]).ThenByDescending(r => r).Take(leaving))
            stays[row] = false;
        return stays;
    }
}
