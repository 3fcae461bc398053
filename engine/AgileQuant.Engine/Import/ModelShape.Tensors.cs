using System.Globalization;

namespace AgileQuant.Engine.Import;

public sealed partial record ModelShape
{
    /// <summary>
    /// Names, dimensions (<c>[in, out]</c>) and roles of all tensors, in file order. A linear's bias follows it; a pack puts
    /// scale and zero points between the two.
    /// </summary>
    public IEnumerable<ModelTensor> Tensors()
    {
        long dim = Dimension, width = EmbeddingWidth, vocab = VocabularySize;
        List<ModelTensor> tensors = [new("token_embd.weight", [width, vocab], TensorRole.Embedding)];
        if (Positions == PositionKind.Learned)
            tensors.Add(new("position_embd.weight", [dim, ContextLength], TensorRole.Position));
        if (EmbeddingProjection is not null)
            tensors.Add(new("embd_in.weight", [width, dim], TensorRole.Projection));
        if (HasEmbeddingNorm)
            AddNorm(tensors, "token_embd_norm");
        for (var i = 0; i < Layers; i++)
            AddLayer(tensors, string.Create(CultureInfo.InvariantCulture, $"blk.{i}."));
        if (HasOutputNorm)
            AddNorm(tensors, "output_norm");
        if (EmbeddingProjection is not null)
            tensors.Add(new("embd_out.weight", [dim, width], TensorRole.Projection));
        if (!TiedOutput)
            tensors.Add(new("output.weight", [width, vocab], TensorRole.Head));
        if (HasRopeFactors)
            tensors.Add(new("rope_freqs.weight", [HeadDimension / 2], TensorRole.Vector));
        return tensors;
    }

    private void AddLayer(List<ModelTensor> tensors, string layer)
    {
        long dim = Dimension, kv = (long)KvHeads * HeadDimension, ffn = FeedForward;
        AddNorm(tensors, layer + "attn_norm");
        if (HasFusedQkv)
        {
            AddLinear(tensors, layer + "attn_qkv", dim, dim + 2 * kv);
        }
        else
        {
            AddLinear(tensors, layer + "attn_q", dim, dim);
            AddLinear(tensors, layer + "attn_k", dim, kv);
            AddLinear(tensors, layer + "attn_v", dim, kv);
        }

        AddLinear(tensors, layer + "attn_output", dim, dim);
        AddNorm(tensors, layer + "ffn_norm");
        if (Activation == ActivationKind.SwiGlu)
            AddLinear(tensors, layer + "ffn_gate", dim, ffn);
        AddLinear(tensors, layer + "ffn_up", dim, ffn);
        AddLinear(tensors, layer + "ffn_down", ffn, dim);
    }

    private void AddLinear(List<ModelTensor> tensors, string name, long inputs, long outputs)
    {
        tensors.Add(new(name + ".weight", [inputs, outputs], TensorRole.Linear));
        if (HasBiases)
            tensors.Add(new(name + ".bias", [outputs], TensorRole.Bias));
    }

    private void AddNorm(List<ModelTensor> tensors, string name)
    {
        tensors.Add(new(name + ".weight", [Dimension], TensorRole.Vector));
        if (Norm == NormKind.Layer)
            tensors.Add(new(name + ".bias", [Dimension], TensorRole.Vector));
    }
}

/// <summary>What a tensor is used for, which decides how it is stored.</summary>
public enum TensorRole
{
    /// <summary>The token embedding, which may be the output head too.</summary>
    Embedding,

    /// <summary>Learned positions: 16 bits in every precision.</summary>
    Position,

    /// <summary>Between the widths of embedding and residual stream: 16 bits in every precision.</summary>
    Projection,

    Linear,

    /// <summary>Added to a linear's product: fp32.</summary>
    Bias,

    Head,

    /// <summary>Norm weights and biases, rotary factors: fp32.</summary>
    Vector,
}

/// <summary>A tensor that a model's file must hold.</summary>
public sealed record ModelTensor(string Name, IReadOnlyList<long> Dimensions, TensorRole Role);
