using System.Numerics.Tensors;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// Factors of a symmetric positive definite matrix as GPTQ needs them, fp64, in blocks so that the work is products of rows that
/// run along the inner dimension. Each element is summed by one thread in one order: results do not depend on the thread count.
/// </summary>
internal static class Cholesky
{
    private const int Block = 64;

    /// <summary>
    /// The upper factor U of the inverse: <c>H^-1 = U^T U</c>. With J the reversal of rows and columns, <c>J H J = L L^T</c>, so
    /// <c>H = R R^T</c> with R = J L J upper, and <c>U = R^-1</c>: one factorization and one triangular inverse, no inverse of H.
    /// </summary>
    /// <param name="h"><c>[n][n]</c>, symmetric; overwritten.</param>
    /// <param name="n">Rows and columns.</param>
    /// <returns><c>U^T</c>, lower triangular, <c>[n][n]</c>: row j holds column j of U.</returns>
    /// <exception cref="ArithmeticException">The matrix is not positive definite.</exception>
    public static double[] TransposedFactorOfInverse(double[] h, int n)
    {
        Array.Reverse(h, 0, n * n); // J H J of a row-major matrix is its elements in reverse
        Factor(h, n);
        var inverse = InverseOfLower(h, n);
        // L^-1 -> J L^-1 J = U (upper); its transpose is stored.
        var result = new double[n * n];
        Parallel.For(0, n, j =>
        {
            for (var i = 0; i <= j; i++)
                result[j * n + i] = inverse[(n - 1 - i) * n + (n - 1 - j)];
        });
        return result;
    }

    /// <summary>L of <c>A = L L^T</c>, in place in the lower triangle; what is above the diagonal is cleared.</summary>
    public static void Factor(double[] a, int n)
    {
        for (var k0 = 0; k0 < n; k0 += Block)
        {
            var end = Math.Min(k0 + Block, n);
            for (var i = k0; i < end; i++) // the diagonal block, after the columns before it are taken off
            {
                for (var j = k0; j <= i; j++)
                {
                    var sum = a[i * n + j] - TensorPrimitives.Dot<double>(a.AsSpan(i * n, j), a.AsSpan(j * n, j));
                    if (i == j && !(sum > 0))
                        throw new ArithmeticException($"the matrix is not positive definite (row {i})");
                    a[i * n + j] = i == j ? Math.Sqrt(sum) : sum / a[j * n + j];
                }
            }

            var start = k0;
            Parallel.For(0, (n - end + Block - 1) / Block, block =>
            {
                for (var i = end + block * Block; i < Math.Min(end + (block + 1) * Block, n); i++)
                {
                    for (var j = start; j < end; j++)
                        a[i * n + j] = (a[i * n + j] - TensorPrimitives.Dot<double>(a.AsSpan(i * n, j), a.AsSpan(j * n, j))) / a[j * n + j];
                }
            });
        }

        for (var i = 0; i < n; i++)
            a.AsSpan(i * n + i + 1, n - i - 1).Clear();
    }

    /// <summary>Inverse of a lower triangular matrix.</summary>
    private static double[] InverseOfLower(double[] lower, int n)
    {
        // Column j of the inverse solves L x = e_j; x is kept as a row so that the sums run along memory.
        var columns = new double[n * n]; // row j: column j of the inverse
        Parallel.For(0, n, j =>
        {
            var x = columns.AsSpan(j * n, n);
            x[j] = 1 / lower[j * n + j];
            for (var i = j + 1; i < n; i++)
                x[i] = -TensorPrimitives.Dot<double>(lower.AsSpan(i * n + j, i - j), x[j..i]) / lower[i * n + i];
        });
        var result = new double[n * n];
        Parallel.For(0, n, i =>
        {
            for (var j = 0; j <= i; j++)
                result[i * n + j] = columns[j * n + i];
        });
        return result;
    }
}
