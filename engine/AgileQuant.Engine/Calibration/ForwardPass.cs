using System.Numerics.Tensors;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Quantization;
using AgileQuant.Engine.Reference;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// What lies between the linears, for one window at a time: the formulas of docs/packed-model.md with sums in the order that is
/// fast here, so that values agree with the reference within rounding, not bit for bit.
/// </summary>
/// <param name="shape">Of the model.</param>
/// <param name="ropeFactors">Empty, or <c>[head dimension / 2]</c>.</param>
/// <param name="probabilities">How attention probabilities are quantized.</param>
/// <param name="keyValueBits">Of the cache: 16, 8, or 32 for a pass without any rounding.</param>
internal sealed class ForwardPass(ModelShape shape, float[] ropeFactors, ProbabilityFormat probabilities, int keyValueBits)
{
    private readonly float[] _slopes = shape.Positions == PositionKind.Alibi ? Attention.AlibiSlopes(shape.Heads) : new float[shape.Heads];

    public ModelShape Shape => shape;

    /// <summary>Norm of every row.</summary>
    public float[] Norm(ReadOnlySpan<float> stream, NormWeights norm)
    {
        var width = norm.Weight.Length;
        var result = new float[stream.Length];
        for (var start = 0; start < stream.Length; start += width)
        {
            var x = stream.Slice(start, width);
            var y = result.AsSpan(start, width);
            if (shape.Norm == NormKind.Layer)
            {
                TensorPrimitives.Subtract(x, TensorPrimitives.Sum(x) / width, y);
                TensorPrimitives.Multiply(y, 1f / MathF.Sqrt(TensorPrimitives.SumOfSquares<float>(y) / width + shape.Epsilon), y);
                TensorPrimitives.Multiply(y, norm.Weight, y);
                TensorPrimitives.Add(y, norm.Bias, y);
            }
            else
            {
                TensorPrimitives.Multiply(x, 1f / MathF.Sqrt(TensorPrimitives.SumOfSquares(x) / width + shape.Epsilon), y);
                TensorPrimitives.Multiply(y, norm.Weight, y);
            }
        }

        return result;
    }

    /// <summary>Attention of all rows over the rows before them.</summary>
    /// <param name="q"><c>[rows][dimension]</c>; rotated in place.</param>
    /// <param name="k"><c>[rows][key-value width]</c>; rotated and rounded in place.</param>
    /// <param name="v">As <paramref name="k"/>; rounded in place.</param>
    /// <param name="positions">Of the rows.</param>
    /// <param name="importance">Gets each row's probability on the first, summed over heads.</param>
    /// <returns><c>[rows][dimension]</c></returns>
    public float[] Attend(float[] q, float[] k, float[] v, int[] positions, float[] importance)
    {
        int rows = positions.Length, size = shape.HeadDimension, width = shape.KvHeads * size;
        if (shape.Positions == PositionKind.Rotary)
        {
            for (var r = 0; r < rows; r++)
            {
                var table = Operations.RopeTable(positions[r], size, shape.RopeBase, ropeFactors);
                Operations.Rope(q.AsSpan(r * shape.Dimension, shape.Dimension), table);
                Operations.Rope(k.AsSpan(r * width, width), table);
            }
        }

        Store(k);
        Store(v);
        var attended = new float[rows * shape.Dimension];
        var scores = new float[rows * rows];
        var values = new float[size * rows];
        for (var head = 0; head < shape.Heads; head++)
        {
            var offset = head / (shape.Heads / shape.KvHeads) * size;
            MatrixProduct.Multiply(q.AsSpan(head * size), shape.Dimension, k.AsSpan(offset), width, scores, rows, rows, rows, size);
            for (var r = 0; r < rows; r++)
            {
                Softmax(scores.AsSpan(r * rows, r + 1), positions, r, _slopes[head]);
                scores.AsSpan(r * rows + r + 1, rows - r - 1).Clear();
                importance[r] += scores[r * rows];
                for (var i = 0; i < size; i++)
                    values[i * rows + r] = v[r * width + offset + i];
            }

            MatrixProduct.Multiply(scores, rows, values, rows, attended.AsSpan(head * size), shape.Dimension, rows, size, rows);
        }

        return attended;
    }

    /// <summary>The input of <c>ffn_down</c>.</summary>
    /// <param name="gate">null unless the activation is SwiGLU.</param>
    /// <param name="up">Overwritten with the result.</param>
    public float[] Activate(float[]? gate, float[] up)
    {
        switch (shape.Activation)
        {
            case ActivationKind.Relu:
                TensorPrimitives.Max(up, 0f, up);
                break;
            case ActivationKind.Gelu:
                for (var i = 0; i < up.Length; i++)
                {
                    var u = 0.79788456f * up[i] * (1 + 0.044715f * up[i] * up[i]);
                    up[i] /= 1 + Operations.Exp(-2 * u);
                }

                break;
            default:
                for (var i = 0; i < up.Length; i++)
                    up[i] *= gate![i] / (1f + Operations.Exp(-gate[i]));
                break;
        }

        return up;
    }

    private void Softmax(Span<float> scores, int[] positions, int row, float slope)
    {
        TensorPrimitives.Multiply(scores, 1f / MathF.Sqrt(shape.HeadDimension), scores);
        if (slope != 0)
        {
            for (var t = 0; t < scores.Length; t++)
                scores[t] += slope * (positions[t] - positions[row]);
        }

        TensorPrimitives.SoftMax<float>(scores, scores);
        if (probabilities == ProbabilityFormat.Full)
            return;
        for (var t = 0; t < scores.Length; t++)
        {
            scores[t] = probabilities == ProbabilityFormat.Uniform
                ? Quantizers.UniformProbability(scores[t])
                : scores[t] < 1e-5f ? 0 : Quantizers.Log2Probability(scores[t]); // below 2^-15.5 = 2.16e-5 it is 0
        }
    }

    private void Store(float[] values)
    {
        if (keyValueBits == 16)
        {
            Operations.RoundToHalf(values);
        }
        else if (keyValueBits == 8)
        {
            for (var start = 0; start < values.Length; start += shape.HeadDimension)
                Operations.RoundToInt8(values.AsSpan(start, shape.HeadDimension));
        }
    }
}

/// <summary>Weight and (LayerNorm) bias of a norm.</summary>
internal sealed record NormWeights(float[] Weight, float[] Bias);
