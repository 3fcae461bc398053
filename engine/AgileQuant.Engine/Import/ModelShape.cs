namespace AgileQuant.Engine.Import;

/// <summary>Hyperparameters of a model, and its tensors in the order in which our files hold them (docs/packed-model.md).</summary>
public sealed partial record ModelShape
{
    public Architecture Architecture { get; init; }

    /// <summary>Name the model gives itself; null if none.</summary>
    public string? Name { get; init; }

    public required int ContextLength { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int Dimension { get; init; }

    public required int Layers { get; init; }

    public required int FeedForward { get; init; }

    public required int Heads { get; init; }

    public required int KvHeads { get; init; }

    public required int VocabularySize { get; init; }

    public required float Epsilon { get; init; }

    /// <summary>Of rotary positions.</summary>
    public float RopeBase { get; init; } = 10000;

    public required bool TiedOutput { get; init; }

    /// <summary>A <c>rope_freqs.weight</c> tensor divides the rotary frequencies.</summary>
    public bool HasRopeFactors { get; init; }

    /// <summary>OPT-350M: each norm follows its residual addition, and there is no output norm.</summary>
    public bool NormAfter { get; init; }

    /// <summary>OPT-350M: width of the embedding where it is not <see cref="Dimension"/>; projections lead in and out.</summary>
    public int? EmbeddingProjection { get; init; }

    public bool RandomWeights { get; init; }

    public int HeadDimension => Dimension / Heads;

    /// <summary>Width of an embedding row and of the output head's input.</summary>
    public int EmbeddingWidth => EmbeddingProjection ?? Dimension;

    public NormKind Norm => Architecture == Architecture.Llama ? NormKind.Rms : NormKind.Layer;

    public PositionKind Positions => Architecture switch
    {
        Architecture.Opt => PositionKind.Learned,
        Architecture.Bloom => PositionKind.Alibi,
        _ => PositionKind.Rotary,
    };

    public ActivationKind Activation => Architecture switch
    {
        Architecture.Opt => ActivationKind.Relu,
        Architecture.Bloom => ActivationKind.Gelu,
        _ => ActivationKind.SwiGlu,
    };

    /// <summary>q, k and v are one matrix, <c>attn_qkv</c>: the rows of q, then of k, then of v.</summary>
    public bool HasFusedQkv => Architecture == Architecture.Bloom;

    /// <summary>Every linear has a bias.</summary>
    public bool HasBiases => Architecture != Architecture.Llama;

    /// <summary>The embedding is normalized before the first layer.</summary>
    public bool HasEmbeddingNorm => Architecture == Architecture.Bloom;

    public bool HasOutputNorm => !NormAfter;

    /// <exception cref="ModelFormatException">The numbers do not fit together, or go beyond this version's limits.</exception>
    public ModelShape Checked(string path)
    {
        Require(Dimension is > 0 and <= 131072, $"width {Dimension} is outside 1..131072");
        Require(FeedForward is > 0 and <= 131072, $"feed-forward width {FeedForward} is outside 1..131072");
        Require(Layers is > 0 and <= 1024, $"{Layers} layers are outside 1..1024");
        Require(VocabularySize is > 0 and <= 1 << 22, $"a vocabulary of {VocabularySize} is outside 1..4194304");
        Require(ContextLength is > 0 and <= 1 << 24, $"context length {ContextLength} is outside 1..16777216");
        Require(Heads > 0 && Dimension % Heads == 0, $"{Heads} attention heads do not divide a width of {Dimension}");
        Require(Positions != PositionKind.Rotary || HeadDimension % 2 == 0,
            $"{Heads} attention heads do not divide a width of {Dimension} into even parts");
        Require(KvHeads > 0 && Heads % KvHeads == 0, $"{Heads} attention heads are no multiple of {KvHeads} key-value heads");
        Require(Architecture == Architecture.Llama || KvHeads == Heads,
            $"{KvHeads} key-value heads for {Heads} heads; only LLaMA models share them");
        Require(float.IsFinite(Epsilon) && Epsilon >= 0, $"norm epsilon {Epsilon}");
        Require(float.IsFinite(RopeBase) && RopeBase > 0, $"rotary base {RopeBase}");
        Require(EmbeddingProjection is null or (> 0 and <= 131072), $"embedding width {EmbeddingProjection} is outside 1..131072");
        return this;

        void Require(bool holds, string problem)
        {
            if (!holds)
                throw new ModelFormatException($"{path}: {problem}");
        }
    }
}
