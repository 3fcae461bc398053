using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Reference;

/// <summary>RMSNorm (no bias) or LayerNorm with the weights of one place of the model.</summary>
internal sealed class Norm
{
    private readonly float[] _weight;
    private readonly float[]? _bias;
    private readonly float _epsilon;

    /// <param name="pack">A packed model.</param>
    /// <param name="name">Without <c>.weight</c>; a bias makes it a LayerNorm.</param>
    /// <param name="epsilon">Added to the mean square or variance.</param>
    public Norm(GgufFile pack, string name, float epsilon)
    {
        _weight = pack.ReadFloats(pack.Tensor(name + ".weight"));
        _bias = pack.Find(name + ".bias") is { } bias ? pack.ReadFloats(bias) : null;
        _epsilon = epsilon;
    }

    public float[] Apply(ReadOnlySpan<float> x) => _bias is null
        ? Operations.RmsNorm(x, _weight, _epsilon)
        : Operations.LayerNorm(x, _weight, _bias, _epsilon);
}
