using System.Numerics.Tensors;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// Sums over the calibration tokens for one input, fp64 over windows and fp32 within one: the Hessian <c>sum of x' x'^T</c> and the
/// drift <c>sum of (x - x') x'^T</c>, x' being what the product sees and x what it should have seen.
/// </summary>
internal sealed class InputStatistics(int inputs)
{
    private const int RowsAtOnce = 64;

    /// <summary><c>[inputs][inputs]</c></summary>
    public double[] Hessian { get; } = new double[(long)inputs * inputs];

    /// <summary><c>[inputs][inputs]</c></summary>
    public double[] Drift { get; } = new double[(long)inputs * inputs];

    public long Rows { get; private set; }

    /// <param name="seen"><c>[rows][inputs]</c>, x'.</param>
    /// <param name="wanted"><c>[rows][inputs]</c>, x.</param>
    public void Add(float[] seen, float[] wanted)
    {
        var rows = seen.Length / inputs;
        Rows += rows;
        var columns = new float[seen.Length]; // [inputs][rows]
        MatrixProduct.Transpose(seen, rows, inputs, columns);
        var missing = new float[seen.Length];
        MatrixProduct.Transpose(wanted, rows, inputs, missing);
        TensorPrimitives.Subtract(missing, columns, missing);
        Accumulate(columns, columns, rows, Hessian);
        Accumulate(missing, columns, rows, Drift);
    }

    private void Accumulate(float[] left, float[] right, int rows, double[] sum)
    {
        Parallel.For(0, (inputs + RowsAtOnce - 1) / RowsAtOnce, block =>
        {
            var first = block * RowsAtOnce;
            var count = Math.Min(RowsAtOnce, inputs - first);
            var product = new float[count * inputs];
            MatrixProduct.Multiply(left.AsSpan(first * rows), rows, right, rows, product, inputs, count, inputs, rows);
            for (var i = 0; i < product.Length; i++)
                sum[first * inputs + i] += product[i];
        });
    }
}
