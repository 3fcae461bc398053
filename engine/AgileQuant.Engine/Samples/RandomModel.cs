using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Samples;

namespace AgileQuant.Engine;

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
    /// <param name="progress">Told after each tensor.</param>
    /// <param name="cancellation">Stops between chunks; nothing is left behind.</param>
    /// <exception cref="ArgumentException">The sizes do not fit together.</exception>
    public static ModelSummary Write(
        string destinationGguf, RandomModelShape shape, int seed, IProgress<ModelProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        var model = shape.ToModel();
        var (keys, tensors) = Contents(shape, model);
        using var writer = new GgufWriter(destinationGguf, keys, tensors);
        var total = tensors.Sum(t => t.Bytes);
        long done = 0;
        for (var i = 0; i < tensors.Count; i++)
        {
            var stored = tensors[i];
            if (stored.Type == TensorType.F32)
            {
                // Norms as a model has them before training; biases are 0.
                var values = new float[stored.Elements];
                Array.Fill(values, stored.Name.EndsWith(".bias", StringComparison.Ordinal) ? 0f : 1f);
                writer.WriteValues<float>(values);
            }
            else
            {
                WriteRandom(writer, stored, new CounterRandom(seed, i), DeviationOf(stored.Name, shape.Layers), cancellation);
            }

            done += stored.Bytes;
            progress?.Report(new ModelProgress((double)done / total, stored.Name, i + 1, tensors.Count));
        }

        var (sha256, size) = writer.Complete();
        return ModelImporter.Summarize(model, shape.Name, hasTokenizer: true, sha256, size);
    }

    /// <summary>What <see cref="Write"/> makes of a shape, without making it: the number of weights and the size of the file.</summary>
    /// <exception cref="ArgumentException">The sizes do not fit together.</exception>
    public static (long Parameters, long Bytes) Measure(RandomModelShape shape)
    {
        var model = shape.ToModel();
        var (keys, tensors) = Contents(shape, model);
        return (ModelImporter.Summarize(model, shape.Name, hasTokenizer: true, "", 0).Parameters, GgufWriter.SizeOf(keys, tensors));
    }

    private static (GgufMetadata Keys, List<GgufTensor> Tensors) Contents(RandomModelShape shape, ModelShape model)
    {
        var tensors = model.Tensors().Select(t => new GgufTensor(
            t.Name, t.Role is TensorRole.Vector or TensorRole.Bias ? TensorType.F32 : TensorType.F16, t.Dimensions)).ToList();
        var keys = new GgufMetadata();
        model.WriteTo(keys, TensorType.F16);
        SyntheticVocabulary.For(shape).WriteTo(keys);
        return (keys, tensors);
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
}
