namespace AgileQuant.Engine.Quantization;

/// <summary>
/// Thresholds of importance by how a prompt begins. Importance is attention to the first token, and a model gives BOS, which always
/// stood there in training, quite another share than a word that happens to be first: one threshold cannot single out the same share of both.
/// </summary>
/// <param name="startToken">The id that a prompt begins with; null: all prompts are alike.</param>
/// <param name="layers">Of the model.</param>
internal sealed class StartThresholds(int? startToken, int layers)
{
    public int? StartToken => startToken;

    /// <summary>Of prompts that begin with the start token, or of all; <c>[layers]</c>.</summary>
    public float[] Start { get; } = new float[layers];

    /// <summary>Of other prompts, <c>[layers]</c>.</summary>
    public float[] Other { get; } = new float[layers];

    /// <summary>Sets both of a layer, each by the windows it is for; where there are none, by the others.</summary>
    /// <param name="layer">Its number.</param>
    /// <param name="windows">Windows that may choose.</param>
    /// <param name="ids">Of a window.</param>
    /// <param name="choose">A threshold from windows.</param>
    public void Choose(int layer, IReadOnlyList<int> windows, Func<int, int[]> ids, Func<IReadOnlyList<int>, float> choose)
    {
        var (start, other) = (windows.Where(w => IsStart(ids(w))).ToList(), windows.Where(w => !IsStart(ids(w))).ToList());
        Start[layer] = choose(start.Count > 0 ? start : other);
        Other[layer] = other.Count > 0 && start.Count > 0 ? choose(other) : Start[layer];
    }

    /// <summary>The threshold that holds for a window.</summary>
    public float Of(int layer, int[] ids) => IsStart(ids) ? Start[layer] : Other[layer];

    private bool IsStart(int[] ids) => startToken is not { } start || ids[0] == start;
}
