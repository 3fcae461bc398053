using System.Globalization;
using System.Numerics.Tensors;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Calibration;

/// <summary>Reads a canonical model tensor by tensor: at most one layer and the embedding are in memory.</summary>
internal sealed class ModelWeights(GgufFile file, ModelShape shape)
{
    public ModelShape Shape => shape;

    public float[] RopeFactors { get; } = file.Find("rope_freqs.weight") is { } factors ? file.ReadFloats(factors) : [];

    /// <summary>Names of a layer's linears by the place of their input: <c>attn_in, attn_out, ffn_in, ffn_mid</c>.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Linears(int layer)
    {
        string[][] names =
        [
            shape.HasFusedQkv ? ["attn_qkv"] : ["attn_q", "attn_k", "attn_v"],
            ["attn_output"],
            shape.Activation == ActivationKind.SwiGlu ? ["ffn_gate", "ffn_up"] : ["ffn_up"],
            ["ffn_down"],
        ];
        return [.. names.Select(place => place.Select(n => Prefix(layer) + n).ToArray())];
    }

    public static string Prefix(int layer) => string.Create(CultureInfo.InvariantCulture, $"blk.{layer}.");

    public NormWeights Norm(string name) => new(
        Floats(name + ".weight"), file.Find(name + ".bias") is { } bias ? file.ReadFloats(bias) : []);

    /// <param name="name">Without <c>.weight</c>.</param>
    /// <exception cref="ModelFormatException">A weight is not finite.</exception>
    public DenseLinear Linear(string name)
    {
        var tensor = file.Tensor(name + ".weight");
        var weights = file.ReadFloats(tensor);
        if (!TensorPrimitives.IsFiniteAll<float>(weights))
            throw new ModelFormatException($"{file.Path}: {tensor.Name} has values that are not finite");
        return new DenseLinear(
            name, (int)tensor.RowLength, (int)tensor.Rows, weights, file.Find(name + ".bias") is { } bias ? file.ReadFloats(bias) : null);
    }

    /// <summary>Residual streams of the windows before the first layer.</summary>
    public float[][] Embed(int[][] windows)
    {
        var table = file.Tensor("token_embd.weight");
        var width = shape.EmbeddingWidth;
        var row = new byte[table.Type.RowBytes(width)];
        var streams = Array.ConvertAll(windows, ids =>
        {
            var stream = new float[ids.Length * width];
            for (var t = 0; t < ids.Length; t++)
            {
                file.Read(table, ids[t] * (long)row.Length, row);
                TensorCodec.ToFloats(table.Type, row, stream.AsSpan(t * width, width));
            }

            return stream;
        });
        if (shape.EmbeddingProjection is not null)
        {
            var projection = Linear("embd_in");
            streams = Array.ConvertAll(streams, s => projection.Apply(s));
        }

        if (shape.Positions == PositionKind.Learned)
        {
            var positions = Floats("position_embd.weight");
            foreach (var stream in streams)
                TensorPrimitives.Add(stream, positions.AsSpan(0, stream.Length), stream);
        }

        return streams;
    }

    /// <summary>What turns the last layer's stream into logits.</summary>
    public (NormWeights? Norm, DenseLinear? Projection, DenseLinear Head) Output() => (
        shape.HasOutputNorm ? Norm("output_norm") : null,
        shape.EmbeddingProjection is null ? null : Linear("embd_out"),
        Linear(shape.TiedOutput ? "token_embd" : "output"));

    private float[] Floats(string name) => file.ReadFloats(file.Tensor(name));
}

/// <summary>A linear in fp32, <c>[outputs][inputs]</c>.</summary>
internal sealed record DenseLinear(string Name, int Inputs, int Outputs, float[] Weights, float[]? Bias)
{
    /// <summary><c>x W^T + b</c> for all rows; serial, so that windows can run side by side.</summary>
    public float[] Apply(ReadOnlySpan<float> x)
    {
        var rows = x.Length / Inputs;
        var y = new float[rows * Outputs];
        MatrixProduct.Multiply(x, Inputs, Weights, Inputs, y, Outputs, rows, Outputs, Inputs);
        if (Bias is not null)
        {
            for (var r = 0; r < rows; r++)
                TensorPrimitives.Add(y.AsSpan(r * Outputs, Outputs), Bias, y.AsSpan(r * Outputs, Outputs));
        }

        return y;
    }
}
