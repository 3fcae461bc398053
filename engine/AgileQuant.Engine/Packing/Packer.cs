namespace AgileQuant.Engine;

/// <summary>Quantizes a canonical GGUF into a packed model (docs/packed-model.md).</summary>
public static class Packer
{
    public static PackResult Pack(
        string canonicalGguf, PackRecipe recipe, string destination, IProgress<double>? progress = null,
        CancellationToken cancellation = default) => throw new NotSupportedException("under construction");
}
