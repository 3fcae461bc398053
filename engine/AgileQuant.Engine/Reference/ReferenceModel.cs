namespace AgileQuant.Engine;

/// <summary>The executable specification of a packed model's arithmetic.</summary>
public sealed class ReferenceModel
{
    public static ReferenceModel Load(string packPath) => throw new NotSupportedException("under construction");

    public float[][] Logits(IReadOnlyList<int> ids) => throw new NotSupportedException("under construction");

    public float[][] Score(TokenData tokens, PerplexityConvention convention, int first, int count) =>
        throw new NotSupportedException("under construction");
}
