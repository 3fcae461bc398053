using AgileQuant.Engine.Import;

namespace AgileQuant.Engine;

/// <summary>Shape of a generated model.</summary>
/// <param name="Name">Goes into the file.</param>
/// <param name="Dimension">Width of the residual stream; a multiple of the heads.</param>
/// <param name="Layers">Blocks.</param>
/// <param name="Heads">Attention heads; a multiple of the key-value heads.</param>
/// <param name="KvHeads">Key-value heads; only LLaMA models may have fewer than heads.</param>
/// <param name="FeedForward">Inner width of the feed-forward block.</param>
/// <param name="VocabularySize">At least 260: 256 bytes, three special tokens and the space.</param>
/// <param name="ContextLength">Positions.</param>
/// <param name="TiedOutput">The output head is the embedding table.</param>
/// <param name="Architecture">Model family.</param>
public sealed record RandomModelShape(
    string Name, int Dimension, int Layers, int Heads, int KvHeads, int FeedForward, int VocabularySize, int ContextLength = 2048,
    bool TiedOutput = false, Architecture Architecture = Architecture.Llama)
{
    /// <summary>149.8 million parameters: larger than a board's caches, small enough for a Pi.</summary>
    public static RandomModelShape Demo150M { get; } = new("random-150m", 768, 16, 12, 4, 2048, 32000);

    /// <summary>TinyLlama 1.1B: 1,100,048,384 parameters.</summary>
    public static RandomModelShape TinyLlama { get; } = new("random-tinyllama-1.1b", 2048, 22, 32, 4, 5632, 32000);

    /// <summary>OPT-125M: 125,237,760 parameters (the two unused rows of its positions are left out).</summary>
    public static RandomModelShape Opt125M { get; } =
        new("random-opt-125m", 768, 12, 12, 12, 3072, 50272, TiedOutput: true, Architecture: Architecture.Opt);

    /// <summary>BLOOM-560M: 559,214,592 parameters.</summary>
    public static RandomModelShape Bloom560M { get; } =
        new("random-bloom-560m", 1024, 24, 16, 16, 4096, 250880, TiedOutput: true, Architecture: Architecture.Bloom);

    /// <summary>Shapes by the names that commands take.</summary>
    public static IReadOnlyDictionary<string, RandomModelShape> Presets { get; } = new Dictionary<string, RandomModelShape>(StringComparer.Ordinal)
    {
        ["tiny-3m"] = new("tiny-3m", 128, 4, 4, 2, 384, 8192, 512),
        ["demo-150m"] = Demo150M,
        ["opt-125m"] = Opt125M,
        ["bloom-560m"] = Bloom560M,
        ["tinyllama-1.1b"] = TinyLlama,
    };

    /// <exception cref="ArgumentException">The sizes do not fit together.</exception>
    internal ModelShape ToModel()
    {
        if (VocabularySize < SyntheticVocabulary.Least)
            throw new ArgumentException($"a random model needs a vocabulary of at least {SyntheticVocabulary.Least}");
        try
        {
            return new ModelShape
            {
                Architecture = Architecture,
                Name = Name,
                ContextLength = ContextLength,
                Dimension = Dimension,
                Layers = Layers,
                FeedForward = FeedForward,
                Heads = Heads,
                KvHeads = KvHeads,
                VocabularySize = VocabularySize,
                Epsilon = 1e-5f,
                RopeBase = 10000,
                TiedOutput = TiedOutput,
                RandomWeights = true,
            }.Checked(Name);
        }
        catch (ModelFormatException e)
        {
            throw new ArgumentException(e.Message, e);
        }
    }
}
