namespace AgileQuant.Engine;

/// <summary>What a model file says about itself.</summary>
public sealed record ModelSummary
{
    public required string Name { get; init; }

    /// <summary>GGUF architecture name, <c>llama</c>, <c>opt</c> or <c>bloom</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>Elements of all weight tensors; a tied output head counts once.</summary>
    public required long Parameters { get; init; }

    public required int Layers { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int Dimension { get; init; }

    /// <summary>Inner width of the feed-forward block.</summary>
    public required int FeedForward { get; init; }

    public required int Heads { get; init; }

    public required int KvHeads { get; init; }

    /// <summary>Positions the model was made for.</summary>
    public required int ContextLength { get; init; }

    public required int VocabularySize { get; init; }

    /// <summary>The output head is the embedding table.</summary>
    public required bool TiedOutput { get; init; }

    /// <summary>Weights are random: good for speed, meaningless for perplexity.</summary>
    public required bool RandomWeights { get; init; }

    public required bool HasTokenizer { get; init; }

    /// <summary>SHA-256 of the GGUF file, lower-case hexadecimal; empty for a Hugging Face folder that is not imported yet.</summary>
    public required string Sha256 { get; init; }

    /// <summary>Size of the GGUF file, or of all weight files of a Hugging Face folder.</summary>
    public required long Bytes { get; init; }
}
