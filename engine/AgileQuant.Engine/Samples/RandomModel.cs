using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Samples;
using AgileQuant.Engine.Tokenization;

namespace AgileQuant.Engine;

/// <summary>Shape of a generated LLaMA-architecture model.</summary>
/// <param name="Name">Goes into the file.</param>
/// <param name="Dimension">Width of the residual stream; a multiple of the heads.</param>
/// <param name="Layers">Blocks.</param>
/// <param name="Heads">Attention heads; a multiple of the key-value heads.</param>
/// <param name="KvHeads">Key-value heads.</param>
/// <param name="FeedForward">Inner width of the feed-forward block.</param>
/// <param name="VocabularySize">At least 259: 256 bytes and three special tokens.</param>
/// <param name="ContextLength">Positions.</param>
/// <param name="TiedOutput">The output head is the embedding table.</param>
public sealed record RandomModelShape(
    string Name, int Dimension, int Layers, int Heads, int KvHeads, int FeedForward, int VocabularySize, int ContextLength = 2048,
    bool TiedOutput = false)
{
    /// <summary>149.8 million parameters: larger than a board's caches, small enough for a Pi.</summary>
    public static RandomModelShape Demo150M { get; } = new("random-150m", 768, 16, 12, 4, 2048, 32000);
}

/// <summary>
/// Writes models with random weights, for speed only: the arithmetic does not depend on the values, the perplexity is
/// meaningless. The same shape and seed give the same bytes on every machine.
/// </summary>
public static class RandomModel
{
    private const int ChunkElements = 1 << 22;

    /// <summary>Standard deviation of embedding, head and linears, as in published initializations of LLaMA models.</summary>
    private const double Deviation = 0.02;

    /// <param name="destinationGguf">Canonical F16 GGUF, written under a temporary name and renamed.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="seed">Any number.</param>
    /// <param name="progress">Share of the tensor data that is written, 0 to 1.</param>
    /// <param name="cancellation">Stops between chunks; nothing is left behind.</param>
    /// <exception cref="ArgumentException">The sizes do not fit together.</exception>
    public static ModelSummary Write(
        string destinationGguf, RandomModelShape shape, int seed, IProgress<double>? progress = null,
        CancellationToken cancellation = default)
    {
        var llama = Llama(shape);
        var tensors = llama.Tensors().Select(t => (t.Role, Stored: new GgufTensor(
            t.Name, t.Role == TensorRole.Vector ? TensorType.F32 : TensorType.F16, t.Dimensions))).ToList();
        var keys = new GgufMetadata();
        llama.WriteTo(keys, TensorType.F16);
        SyntheticVocabulary(shape.VocabularySize).WriteTo(keys);
        using var writer = new GgufWriter(destinationGguf, keys, tensors.ConvertAll(t => t.Stored));
        var total = tensors.Sum(t => t.Stored.Bytes);
        long done = 0;
        for (var i = 0; i < tensors.Count; i++)
        {
            var (role, stored) = tensors[i];
            if (role == TensorRole.Vector)
            {
                var ones = new float[stored.Elements];
                Array.Fill(ones, 1f);
                writer.WriteValues<float>(ones);
            }
            else
            {
                WriteRandom(writer, stored, new CounterRandom(seed, i), DeviationOf(stored.Name, shape.Layers), cancellation);
            }

            done += stored.Bytes;
            progress?.Report((double)done / total);
        }

        var (sha256, size) = writer.Complete();
        return ModelImporter.Summarize(llama, shape.Name, hasTokenizer: true, sha256, size);
    }

    private static void WriteRandom(
        GgufWriter writer, GgufTensor tensor, CounterRandom random, float deviation, CancellationToken cancellation)
    {
        const int piece = 1 << 16;
        var buffer = new Half[Math.Min(ChunkElements, tensor.Elements)];
        for (long first = 0; first < tensor.Elements; first += buffer.Length)
        {
            cancellation.ThrowIfCancellationRequested();
            var count = (int)Math.Min(buffer.Length, tensor.Elements - first);
            var start = first;
            Parallel.For(0, (count + piece - 1) / piece, p =>
                random.Fill(start + p * (long)piece, deviation, buffer.AsSpan(p * piece, Math.Min(piece, count - p * piece))));
            writer.WriteValues<Half>(buffer.AsSpan(0, count));
        }
    }

    /// <summary>What is added to the residual stream shrinks with the number of additions, so that its variance stays near one layer's.</summary>
    private static float DeviationOf(string name, int layers) =>
        name.EndsWith("attn_output.weight", StringComparison.Ordinal) || name.EndsWith("ffn_down.weight", StringComparison.Ordinal)
            ? (float)(Deviation / Math.Sqrt(2.0 * layers))
            : (float)Deviation;

    private static ModelShape Llama(RandomModelShape shape)
    {
        if (shape.VocabularySize < 259)
            throw new ArgumentException("a random model needs a vocabulary of at least 259", nameof(shape));
        try
        {
            return new ModelShape
            {
                Name = shape.Name,
                ContextLength = shape.ContextLength,
                Dimension = shape.Dimension,
                Layers = shape.Layers,
                FeedForward = shape.FeedForward,
                Heads = shape.Heads,
                KvHeads = shape.KvHeads,
                VocabularySize = shape.VocabularySize,
                Epsilon = 1e-5f,
                RopeBase = 10000,
                TiedOutput = shape.TiedOutput,
                RandomWeights = true,
            }.Checked(shape.Name);
        }
        catch (ModelFormatException e)
        {
            throw new ArgumentException(e.Message, nameof(shape), e);
        }
    }

    /// <summary>Three special tokens, the 256 bytes, the rest unused: any text can be encoded, one id a byte.</summary>
    private static Vocabulary SyntheticVocabulary(int size)
    {
        string[] special = ["<unk>", "<s>", "</s>"];
        var bytes = ByteLevelEncoder.BuildAlphabet();
        return new Vocabulary
        {
            Model = Vocabulary.ByteLevelModel,
            Pre = "gpt-2",
            Tokens = [.. special, .. bytes, .. Enumerable.Range(259, size - 259).Select(id => $"[PAD{id}]")],
            Kinds = [.. Enumerable.Range(0, size).Select(id => id < 3 ? TokenKind.Control : id < 259 ? TokenKind.Normal : TokenKind.Unused)],
            BosId = 1,
            EosId = 2,
            UnknownId = 0,
            AddBos = true,
        };
    }
}
