namespace AgileQuant.Engine;

/// <summary>Reads a Hugging Face folder or a GGUF file and writes the canonical GGUF that everything else starts from.</summary>
public static class ModelImporter
{
    public static ModelSummary Inspect(string path) => throw new NotSupportedException("under construction");

    public static ModelSummary Import(
        string sourcePath, string destinationGguf, IProgress<double>? progress = null, CancellationToken cancellation = default) =>
        throw new NotSupportedException("under construction");
}
