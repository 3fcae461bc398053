namespace AgileQuant.Engine;

/// <summary>Shape of a generated LLaMA-architecture model.</summary>
public sealed record RandomModelShape(
    string Name, int Dimension, int Layers, int Heads, int KvHeads, int FeedForward, int VocabularySize, int ContextLength = 2048,
    bool TiedOutput = false)
{
    /// <summary>About 150 million parameters: larger than a board's caches, small enough for a Pi.</summary>
    public static RandomModelShape Demo150M { get; } = new("random-150m", 768, 16, 12, 4, 2048, 32000);
}

/// <summary>Writes models with random weights, for speed only.</summary>
public static class RandomModel
{
    public static ModelSummary Write(
        string destinationGguf, RandomModelShape shape, int seed, IProgress<double>? progress = null,
        CancellationToken cancellation = default) => throw new NotSupportedException("under construction");
}
