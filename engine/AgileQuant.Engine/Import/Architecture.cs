namespace AgileQuant.Engine.Import;

/// <summary>The model families this version knows; the GGUF name of each is its name in lower case.</summary>
public enum Architecture
{
    /// <summary>LLaMA 1, 2, 3, TinyLlama: RMSNorm, rotary positions, SwiGLU, no biases.</summary>
    Llama,

    /// <summary>OPT: LayerNorm, learned positions, ReLU, biases.</summary>
    Opt,

    /// <summary>BLOOM: LayerNorm (also behind the embedding), ALiBi, GELU, biases, q, k and v in one matrix.</summary>
    Bloom,
}

/// <summary>How the residual stream is normalized before (or, <see cref="ModelShape.NormAfter"/>, after) a block.</summary>
public enum NormKind
{
    Rms,
    Layer,
}

/// <summary>How attention learns where a token stands.</summary>
public enum PositionKind
{
    /// <summary>q and k are rotated.</summary>
    Rotary,

    /// <summary>A vector a position is added to the embedding.</summary>
    Learned,

    /// <summary>Scores fall linearly with the distance.</summary>
    Alibi,
}

/// <summary>What stands between the two halves of the feed-forward block.</summary>
public enum ActivationKind
{
    SwiGlu,
    Relu,
    Gelu,
}

/// <summary>Names of architectures in files, and the refusal of those we do not know.</summary>
internal static class Architectures
{
    /// <summary>Name in GGUF files and summaries.</summary>
    public static string NameOf(Architecture architecture) => architecture switch
    {
        Architecture.Opt => "opt",
        Architecture.Bloom => "bloom",
        _ => "llama",
    };

    /// <summary>Name for people.</summary>
    public static string TitleOf(Architecture architecture) => architecture switch
    {
        Architecture.Opt => "OPT",
        Architecture.Bloom => "BLOOM",
        _ => "LLaMA",
    };

    public static Architecture? Find(string? name) => name switch
    {
        "llama" => Architecture.Llama,
        "opt" => Architecture.Opt,
        "bloom" => Architecture.Bloom,
        _ => null,
    };

    public static ModelFormatException Unsupported(string path, string name) =>
        new($"{path}: architecture '{name}' is not supported by this version; LLaMA (1, 2, 3, TinyLlama), OPT and BLOOM are");
}
