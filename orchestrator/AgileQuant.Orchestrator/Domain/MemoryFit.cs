namespace AgileQuant.Orchestrator.Domain;

/// <summary>Shape of a model as far as memory is concerned.</summary>
public sealed record ModelShape(int Layers, int Dimension, int FeedForward, int Heads, int KvHeads, int VocabularySize);

/// <summary>Whether a pack fits a board.</summary>
public static class MemoryFit
{
    private const long Reserve = 64L << 20;

    /// <summary>
    /// Bytes a job needs: the pack, the KV cache (fp16, keys and values, <paramref name="context"/> positions) and the fp32
    /// activations of one prefill step of <paramref name="ubatch"/> rows with one row of logits, plus 64 MiB for the rest.
    /// </summary>
    public static long Needed(long packBytes, ModelShape shape, int context, int ubatch)
    {
        var kvRow = 2L * shape.KvHeads * (shape.Dimension / Math.Max(1, shape.Heads)) * sizeof(ushort);
        var kv = kvRow * shape.Layers * context;
        var activations = sizeof(float) * ((long)ubatch * (6L * shape.Dimension + 2L * shape.FeedForward) + shape.VocabularySize);
        return packBytes + kv + activations + Reserve;
    }

    /// <summary>Null when it fits; else why not, in words.</summary>
    /// <param name="precision">The pack's precision.</param>
    /// <param name="needed">See <see cref="Needed"/>.</param>
    /// <param name="memory">All memory of the board.</param>
    public static string? Problem(string precision, long needed, long memory)
    {
        if (memory <= 0 || needed <= memory)
            return null;
        var gib = $"needs {needed / (double)(1L << 30):0.0} GiB, the board has {memory / (double)(1L << 30):0.0} GiB";
        return precision == PrecisionNames.Baseline ? $"no baseline: {gib}" : $"does not fit: {gib}";
    }
}
