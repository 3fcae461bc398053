namespace AgileQuant.Engine.Reference;

/// <summary>Which tokens carry 4-bit activations or leave after a layer's attention, by their importance there.</summary>
internal sealed class TokenSelection
{
    private readonly float[] _lowThresholds; // [2]: by whether the prompt has another start
    private readonly float[] _pruneThresholds;
    private readonly float _keep;

    public TokenSelection(PackOptions options, int layer)
    {
        _lowThresholds = [.. options.LowThresholds.Select(t => t.Length > 0 ? t[layer] : 0)];
        _pruneThresholds = [.. options.PruneThresholds.Select(t => t.Length > 0 ? t[layer] : 0)];
        _keep = options.PruneKeep.Length > 0 ? options.PruneKeep[layer] : 1;
    }

    /// <summary>Low once, low in all later layers.</summary>
    public bool IsLow(Token token, float importance) => token.IsLow || (!token.IsProtected && importance < _lowThresholds[token.IsOtherStart ? 1 : 0]);

    /// <summary>Marks the tokens that leave; in the paper's way the others get compacted positions.</summary>
    /// <param name="tokens">Rows of the layer, in order; together the whole prompt that is left.</param>
    /// <param name="importance">One for each.</param>
    /// <returns>Those that stay.</returns>
    public Token[] Stay(Token[] tokens, float[] importance)
    {
        for (var t = 0; t < tokens.Length; t++)
            tokens[t].IsPruned = !tokens[t].IsProtected && importance[t] < _pruneThresholds[tokens[t].IsOtherStart ? 1 : 0];
        if (_keep >= 1)
            return [.. tokens.Where(t => !t.IsPruned)];

        var leaving = (int)MathF.Floor(tokens.Length * (1 - _keep));
        var ranked = Enumerable.Range(0, tokens.Length).Where(t => !tokens[t].IsProtected)
            .OrderBy(t => importance[t]).ThenByDescending(t => t);
        foreach (var t in ranked.Take(leaving))
            tokens[t].IsPruned = true;
        var staying = tokens.Where(t => !t.IsPruned).ToArray();
        for (var t = 0; t < staying.Length; t++)
            staying[t].Position = t;
        return staying;
    }
}
