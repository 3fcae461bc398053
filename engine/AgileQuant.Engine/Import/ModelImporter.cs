using System.Security.Cryptography;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine;

/// <summary>
/// Reads a Hugging Face folder or a GGUF file and writes the canonical GGUF that everything else starts from: llama.cpp's
/// conventions, tensors in a fixed order, 16- and 32-bit types kept (Q8_0 and Q4_0 widened to F16), norms F32, and nothing
/// in it that depends on where the source lay. The same model gives the same bytes.
/// </summary>
public static class ModelImporter
{
    /// <summary>Reads headers only; for a GGUF file also its SHA-256.</summary>
    /// <exception cref="ModelFormatException">Not a model, or of a kind this version does not support.</exception>
    public static ModelSummary Inspect(string path)
    {
        using var source = Open(path);
        foreach (var tensor in source.Shape.Tensors())
            source.Open(tensor);
        return Summarize(source, File.Exists(path) ? HashOf(path) : "", source.Bytes);
    }

    /// <param name="sourcePath">A Hugging Face folder or a .gguf file.</param>
    /// <param name="destinationGguf">Written under a temporary name and renamed when complete.</param>
    /// <param name="progress">Told tensor by tensor, after each chunk.</param>
    /// <param name="cancellation">Stops between chunks; nothing is left behind.</param>
    /// <exception cref="ModelFormatException">Not a model, or of a kind this version does not support.</exception>
    public static ModelSummary Import(
        string sourcePath, string destinationGguf, IProgress<ModelProgress>? progress = null, CancellationToken cancellation = default)
    {
        using var source = Open(sourcePath);
        var plan = source.Shape.Tensors().Select(t => (Tensor: t, Source: source.Open(t))).ToList();
        var outputs = plan.ConvertAll(p => new GgufTensor(p.Tensor.Name, CanonicalType(p.Tensor, p.Source.Type), p.Tensor.Dimensions));
        var keys = new GgufMetadata();
        source.Shape.WriteTo(keys, outputs[plan.FindIndex(p => p.Tensor.Role == TensorRole.Linear)].Type);
        source.WriteVocabulary(keys);
        using var writer = new GgufWriter(destinationGguf, keys, outputs);
        var copier = new TensorCopier(writer);
        var total = outputs.Sum(t => t.Bytes);
        long done = 0;
        for (var i = 0; i < plan.Count; i++)
        {
            var (name, number) = (outputs[i].Name, i + 1);
            copier.Copy(plan[i].Source, outputs[i], bytes =>
            {
                cancellation.ThrowIfCancellationRequested();
                done += bytes;
                progress?.Report(new ModelProgress((double)done / total, name, number, plan.Count));
            });
        }

        var (sha256, size) = writer.Complete();
        return Summarize(source, sha256, size);
    }

    private static TensorType CanonicalType(ModelTensor tensor, TensorType source) => source switch
    {
        _ when tensor.Role is TensorRole.Vector or TensorRole.Bias => TensorType.F32,
        TensorType.Q80 or TensorType.Q40 => TensorType.F16,
        _ => source,
    };

    private static IModelSource Open(string path)
    {
        if (Directory.Exists(path))
            return new HuggingFaceSource(path);
        if (File.Exists(path))
            return new GgufSource(path);
        throw new ModelFormatException($"{path}: no such file or folder; give a Hugging Face folder or a .gguf file");
    }

    private static ModelSummary Summarize(IModelSource source, string sha256, long bytes) => Summarize(
        source.Shape, source.FallbackName, source.HasVocabulary, sha256, bytes);

    internal static ModelSummary Summarize(ModelShape shape, string fallbackName, bool hasTokenizer, string sha256, long bytes) => new()
    {
        Name = string.IsNullOrEmpty(shape.Name) ? fallbackName : shape.Name,
        Architecture = Architectures.NameOf(shape.Architecture),
        Parameters = shape.Tensors().Where(t => t.Name != "rope_freqs.weight").Sum(t => t.Dimensions.Aggregate(1L, (a, b) => a * b)),
        Layers = shape.Layers,
        Dimension = shape.Dimension,
        FeedForward = shape.FeedForward,
        Heads = shape.Heads,
        KvHeads = shape.KvHeads,
        ContextLength = shape.ContextLength,
        VocabularySize = shape.VocabularySize,
        TiedOutput = shape.TiedOutput,
        RandomWeights = shape.RandomWeights,
        HasTokenizer = hasTokenizer,
        Sha256 = sha256,
        Bytes = bytes,
    };

    private static string HashOf(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
