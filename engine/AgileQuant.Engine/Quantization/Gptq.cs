using System.Numerics.Tensors;
using AgileQuant.Engine.Calibration;

namespace AgileQuant.Engine.Quantization;

/// <summary>
/// GPTQ (Frantar et al. 2022, arXiv 2210.17323): weights are rounded one column after the other, and what a column loses is taken up
/// by those that follow, through the upper Cholesky factor U of the inverse Hessian: <c>e = (w_i - q_i) / U_ii</c>,
/// <c>w_j -= e U_ij</c>. Columns go in descending order of the Hessian's diagonal; scales of groups are chosen before, over the
/// places as they are stored, so that nothing needs to be permuted at run time.
/// </summary>
internal sealed class Gptq
{
    private const int Block = 128; // columns whose errors are gathered before they reach the columns behind
    private const int RowsAtOnce = 32;

    private readonly int _inputs;
    private readonly int[] _order; // columns in the order in which they are rounded
    private readonly float[] _factor; // U^T, lower, [inputs][inputs], columns in that order
    private readonly float[] _diagonal; // of the Hessian, by place

    /// <param name="hessian"><c>sum of x x^T</c> over the calibration tokens, <c>[inputs][inputs]</c>; not changed.</param>
    /// <param name="inputs">Width.</param>
    /// <param name="damping">Share of the diagonal's mean that is added to it.</param>
    public Gptq(double[] hessian, int inputs, double damping = 0.01)
    {
        _inputs = inputs;
        _diagonal = [.. Enumerable.Range(0, inputs).Select(i => (float)hessian[i * inputs + i])];
        _order = [.. Enumerable.Range(0, inputs).OrderByDescending(i => _diagonal[i]).ThenBy(i => i)];
        var mean = Math.Max(_diagonal.Average(d => (double)d), 1e-30);
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                var ordered = Ordered(hessian, damping * mean);
                _factor = Array.ConvertAll(Cholesky.TransposedFactorOfInverse(ordered, inputs), v => (float)v);
                return;
            }
            catch (ArithmeticException) when (attempt < 6)
            {
                damping = Math.Max(damping, 1e-4) * 4; // channels that never vary leave it singular
            }
        }
    }

    /// <summary>
    /// Weights whose product with the quantized inputs x' is nearest to that of W with the inputs x they should have been:
    /// <c>W + W D (H + damping)^-1</c> with <c>D = sum of (x - x') x'^T</c>.
    /// </summary>
    /// <param name="weights"><c>[outputs][inputs]</c>, in places.</param>
    /// <param name="drift">D, <c>[inputs][inputs]</c>.</param>
    /// <param name="share">Of the correction that is made.</param>
    public float[] Corrected(float[] weights, double[] drift, float share = 1)
    {
        int n = _inputs, outputs = weights.Length / n;
        var transposed = new float[n * n]; // D^T, its columns' order the one of the factor: row i is column order[i] of D
        Parallel.For(0, n, i =>
        {
            for (var j = 0; j < n; j++)
                transposed[i * n + j] = (float)drift[j * n + _order[i]];
        });
        var product = new float[outputs * n];
        MatrixProduct.MultiplyParallel(weights, transposed, product, outputs, n, n); // W D, columns in order
        var upper = new float[n * n];
        MatrixProduct.Transpose(_factor, n, n, upper);
        var half = new float[outputs * n];
        MatrixProduct.MultiplyParallel(product, upper, half, outputs, n, n); // (W D) U^T
        MatrixProduct.MultiplyParallel(half, _factor, product, outputs, n, n); // ... U
        var result = new float[weights.Length];
        Parallel.For(0, outputs, o =>
        {
            for (var i = 0; i < n; i++)
                result[o * n + _order[i]] = weights[o * n + _order[i]] + share * product[o * n + i];
        });
        return result;
    }

    /// <param name="linear">Gets values and scales.</param>
    /// <param name="weights"><c>[outputs][inputs]</c>, in places.</param>
    /// <param name="cancellation">Stops between blocks of rows.</param>
    public void Quantize(QuantizedLinear linear, float[] weights, CancellationToken cancellation)
    {
        var blocks = (linear.Outputs + RowsAtOnce - 1) / RowsAtOnce;
        Parallel.For(0, blocks, new ParallelOptions { CancellationToken = cancellation }, block =>
        {
            var first = block * RowsAtOnce;
            QuantizeRows(linear, weights, first, Math.Min(RowsAtOnce, linear.Outputs - first));
        });
    }

    private void QuantizeRows(QuantizedLinear linear, float[] weights, int first, int rows)
    {
        var n = _inputs;
        var (size, groups) = linear.Format.Groups(n);
        for (var r = 0; r < rows; r++)
        {
            for (var g = 0; g < groups; g++)
            {
                var length = Math.Min(size, n - g * size);
                var (scale, zero) = linear.Format.Search(
                    weights.AsSpan((first + r) * n + g * size, length), _diagonal.AsSpan(g * size, length));
                linear.Scales[(first + r) * groups + g] = scale;
                if (linear.Format.HasZeros)
                    linear.Zeros[(first + r) * groups + g] = (sbyte)zero;
            }
        }

        var work = new float[rows * n]; // columns in rounding order
        for (var r = 0; r < rows; r++)
        {
            for (var i = 0; i < n; i++)
                work[r * n + i] = weights[(first + r) * n + _order[i]];
        }

        var values = new sbyte[rows * n];
        var errors = new float[rows * Block];
        var inBlock = new float[Block * Block]; // rows of U in the block
        for (var start = 0; start < n; start += Block)
        {
            var length = Math.Min(Block, n - start);
            for (var i = 0; i < length; i++)
            {
                for (var j = 0; j < length; j++)
                    inBlock[i * Block + j] = _factor[(start + j) * n + start + i];
            }

            for (var r = 0; r < rows; r++)
                RoundBlock(linear, first + r, work.AsSpan(r * n + start, length), errors.AsSpan(r * Block), inBlock, values.AsSpan(r * n), start);
            if (start + length < n)
            {
                MatrixProduct.Multiply(
                    errors, Block, _factor.AsSpan((start + length) * n + start), n, work.AsSpan(start + length), n,
                    rows, n - start - length, length, subtract: true);
            }
        }

        for (var r = 0; r < rows; r++)
            linear.FinishRow(first + r, values.AsSpan(r * n, n));
    }

    private void RoundBlock(
        QuantizedLinear linear, int row, Span<float> work, Span<float> errors, float[] factor, Span<sbyte> values, int start)
    {
        var (size, groups) = linear.Format.Groups(_inputs);
        for (var i = 0; i < work.Length; i++)
        {
            var place = _order[start + i];
            var g = row * groups + place / size;
            var (scale, zero) = (linear.Scales[g], linear.Format.HasZeros ? linear.Zeros[g] : 0);
            var q = linear.Format.Round(work[i], scale, zero);
            values[place] = (sbyte)q;
            var error = (work[i] - scale * (q - zero)) / factor[i * Block + i];
            errors[i] = error;
            var behind = work[(i + 1)..];
            TensorPrimitives.FusedMultiplyAdd(factor.AsSpan(i * Block + i + 1, behind.Length), -error, behind, behind);
        }
    }

    private double[] Ordered(double[] hessian, double damping)
    {
        var n = _inputs;
        var result = new double[n * n];
        Parallel.For(0, n, i =>
        {
            for (var j = 0; j < n; j++)
                result[i * n + j] = hessian[_order[i] * n + _order[j]];
            result[i * n + i] += damping;
        });
        return result;
    }
}
