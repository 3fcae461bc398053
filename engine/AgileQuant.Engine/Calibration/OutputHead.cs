using AgileQuant.Engine.Quantization;
using AgileQuant.Engine.Reference;

namespace AgileQuant.Engine.Calibration;

/// <summary>From residual streams to NLLs: the final norm and the output head, in fp32 or int8 as a quantized pack has it.</summary>
internal sealed class OutputHead
{
    private const int RowsAtOnce = 64;

    private readonly ForwardPass _pass;
    private readonly NormWeights? _norm;
    private readonly DenseLinear? _projection;
    private readonly DenseLinear _head;
    private readonly DenseLinear _rounded;
    private readonly InputPlan _input = new() { Limit = 127 };

    public OutputHead(ModelWeights model, ForwardPass pass)
    {
        _pass = pass;
        (_norm, _projection, _head) = model.Output();
        var quantized = new QuantizedLinear("output", _head.Inputs, _head.Outputs, new WeightFormat(8, 0, false));
        PlainRounding.Quantize(quantized, _head.Weights);
        _rounded = _head with { Weights = quantized.Dequantize() };
    }

    /// <summary>NLL of every id but the first of a window; pruned rows are scored from the stream they left with.</summary>
    public float[] Score(TokenRows rows, bool quantized)
    {
        var dimension = rows.Stream.Length / rows.Count;
        var stream = new float[rows.Ids.Length * dimension];
        for (var r = 0; r < rows.Count; r++)
            rows.Stream.AsSpan(r * dimension, dimension).CopyTo(stream.AsSpan(rows.Index[r] * dimension));
        foreach (var (index, left) in rows.Left)
            left.CopyTo(stream.AsSpan(index * dimension));

        var normed = _norm is null ? stream : _pass.Norm(stream, _norm);
        var hidden = _projection is null ? normed : _projection.Apply(normed);
        var width = _head.Inputs;
        var result = new float[rows.Ids.Length - 1];
        Parallel.For(0, (result.Length + RowsAtOnce - 1) / RowsAtOnce, block =>
        {
            var first = block * RowsAtOnce;
            var count = Math.Min(RowsAtOnce, result.Length - first);
            var input = hidden.AsSpan(first * width, count * width).ToArray();
            for (var r = 0; quantized && r < count; r++)
                _input.Quantize(input.AsSpan(r * width, width), low: false);
            var logits = (quantized ? _rounded : _head).Apply(input);
            for (var r = 0; r < count; r++)
                result[first + r] = Operations.NegativeLogLikelihood(logits.AsSpan(r * _head.Outputs, _head.Outputs), rows.Ids[first + r + 1]);
        });
        return result;
    }
}
