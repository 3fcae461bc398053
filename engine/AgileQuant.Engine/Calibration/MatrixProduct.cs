using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// fp32 products of two row-major matrices that both run along the inner dimension: <c>C = A B^T</c>. A tile of 4 x 4 dot products
/// in 16 lanes each; the order of additions depends on the shapes alone, so results do not depend on threads or processors.
/// </summary>
internal static class MatrixProduct
{
    private const int Tile = 4;
    private const int InnerBlock = 1024; // 4 rows of A and 4 of B: 32 KB
    private const int OuterBlock = 64; // rows of B that stay in the second cache while A passes

    /// <param name="a"><c>[m][lda]</c>, of which k are used.</param>
    /// <param name="b"><c>[n][ldb]</c></param>
    /// <param name="c"><c>[m][ldc]</c>; gets the product, or takes it off when <paramref name="subtract"/>.</param>
    public static void Multiply(
        ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, Span<float> c, int ldc, int m, int n, int k, bool subtract = false)
    {
        Span<float> sums = stackalloc float[Tile * Tile];
        for (var k0 = 0; k0 < k; k0 += InnerBlock)
        {
            var length = Math.Min(InnerBlock, k - k0);
            for (var n0 = 0; n0 < n; n0 += OuterBlock)
            {
                var end = Math.Min(n0 + OuterBlock, n);
                for (var i = 0; i < m; i += Tile)
                {
                    for (var j = n0; j < end; j += Tile)
                    {
                        var (rows, columns) = (Math.Min(Tile, m - i), Math.Min(Tile, end - j));
                        if (rows == Tile && columns == Tile)
                            FullTile(a[(i * lda + k0)..], lda, b[(j * ldb + k0)..], ldb, length, sums);
                        else
                            PartTile(a[(i * lda + k0)..], lda, b[(j * ldb + k0)..], ldb, rows, columns, length, sums);
                        Store(sums, c[(i * ldc + j)..], ldc, rows, columns, first: k0 == 0, subtract);
                    }
                }
            }
        }
    }

    /// <summary><see cref="Multiply"/> of whole matrices, rows of A shared among the threads.</summary>
    public static void MultiplyParallel(float[] a, float[] b, float[] c, int m, int n, int k, bool subtract = false)
    {
        const int RowsAtOnce = 32;
        Parallel.For(0, (m + RowsAtOnce - 1) / RowsAtOnce, block =>
        {
            var first = block * RowsAtOnce;
            Multiply(a.AsSpan(first * k), k, b, k, c.AsSpan(first * n), n, Math.Min(RowsAtOnce, m - first), n, k, subtract);
        });
    }

    /// <summary><c>[rows][columns]</c> to <c>[columns][rows]</c>.</summary>
    public static void Transpose(ReadOnlySpan<float> source, int rows, int columns, Span<float> target)
    {
        const int Block = 16;
        for (var r0 = 0; r0 < rows; r0 += Block)
        {
            for (var c0 = 0; c0 < columns; c0 += Block)
            {
                for (var r = r0; r < Math.Min(r0 + Block, rows); r++)
                {
                    for (var c = c0; c < Math.Min(c0 + Block, columns); c++)
                        target[c * rows + r] = source[r * columns + c];
                }
            }
        }
    }

    private static void Store(ReadOnlySpan<float> sums, Span<float> c, int ldc, int rows, int columns, bool first, bool subtract)
    {
        for (var i = 0; i < rows; i++)
        {
            for (var j = 0; j < columns; j++)
            {
                ref var target = ref c[i * ldc + j];
                var sum = sums[i * Tile + j];
                target = subtract ? target - sum : first ? sum : target + sum;
            }
        }
    }

    private static void PartTile(
        ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, int rows, int columns, int length, Span<float> sums)
    {
        for (var i = 0; i < rows; i++)
        {
            for (var j = 0; j < columns; j++)
            {
                var x = a.Slice(i * lda, length);
                var y = b.Slice(j * ldb, length);
                var lanes = Vector512<float>.Zero;
                var at = 0;
                for (; at <= length - 16; at += 16)
                    lanes = Vector512.FusedMultiplyAdd(Vector512.Create(x[at..]), Vector512.Create(y[at..]), lanes);
                sums[i * Tile + j] = Vector512.Sum(lanes) + Tail(x[at..], y[at..]);
            }
        }
    }

    private static float Tail(ReadOnlySpan<float> x, ReadOnlySpan<float> y)
    {
        float sum = 0;
        for (var i = 0; i < x.Length; i++)
            sum = MathF.FusedMultiplyAdd(x[i], y[i], sum);
        return sum;
    }

    private static void FullTile(ReadOnlySpan<float> a, int lda, ReadOnlySpan<float> b, int ldb, int length, Span<float> sums)
    {
        // Bounds, once: the last row's last element is there.
        _ = a[3 * lda + length - 1];
        _ = b[3 * ldb + length - 1];
        ref var a0 = ref MemoryMarshal.GetReference(a);
        ref var b0 = ref MemoryMarshal.GetReference(b);
        nuint la = (nuint)lda, lb = (nuint)ldb;
        Vector512<float> c00 = default, c01 = default, c02 = default, c03 = default, c10 = default, c11 = default, c12 = default, c13 = default;
        Vector512<float> c20 = default, c21 = default, c22 = default, c23 = default, c30 = default, c31 = default, c32 = default, c33 = default;
        var whole = (nuint)(length & ~15);
        for (nuint k = 0; k < whole; k += 16)
        {
            var x0 = Vector512.LoadUnsafe(ref a0, k);
            var x1 = Vector512.LoadUnsafe(ref a0, k + la);
            var x2 = Vector512.LoadUnsafe(ref a0, k + 2 * la);
            var x3 = Vector512.LoadUnsafe(ref a0, k + 3 * la);
            var y = Vector512.LoadUnsafe(ref b0, k);
            c00 = Vector512.FusedMultiplyAdd(x0, y, c00);
            c10 = Vector512.FusedMultiplyAdd(x1, y, c10);
            c20 = Vector512.FusedMultiplyAdd(x2, y, c20);
            c30 = Vector512.FusedMultiplyAdd(x3, y, c30);
            y = Vector512.LoadUnsafe(ref b0, k + lb);
            c01 = Vector512.FusedMultiplyAdd(x0, y, c01);
            c11 = Vector512.FusedMultiplyAdd(x1, y, c11);
            c21 = Vector512.FusedMultiplyAdd(x2, y, c21);
            c31 = Vector512.FusedMultiplyAdd(x3, y, c31);
            y = Vector512.LoadUnsafe(ref b0, k + 2 * lb);
            c02 = Vector512.FusedMultiplyAdd(x0, y, c02);
            c12 = Vector512.FusedMultiplyAdd(x1, y, c12);
            c22 = Vector512.FusedMultiplyAdd(x2, y, c22);
            c32 = Vector512.FusedMultiplyAdd(x3, y, c32);
            y = Vector512.LoadUnsafe(ref b0, k + 3 * lb);
            c03 = Vector512.FusedMultiplyAdd(x0, y, c03);
            c13 = Vector512.FusedMultiplyAdd(x1, y, c13);
            c23 = Vector512.FusedMultiplyAdd(x2, y, c23);
            c33 = Vector512.FusedMultiplyAdd(x3, y, c33);
        }

        (sums[0], sums[1], sums[2], sums[3]) = (Vector512.Sum(c00), Vector512.Sum(c01), Vector512.Sum(c02), Vector512.Sum(c03));
        (sums[4], sums[5], sums[6], sums[7]) = (Vector512.Sum(c10), Vector512.Sum(c11), Vector512.Sum(c12), Vector512.Sum(c13));
        (sums[8], sums[9], sums[10], sums[11]) = (Vector512.Sum(c20), Vector512.Sum(c21), Vector512.Sum(c22), Vector512.Sum(c23));
        (sums[12], sums[13], sums[14], sums[15]) = (Vector512.Sum(c30), Vector512.Sum(c31), Vector512.Sum(c32), Vector512.Sum(c33));
        if ((int)whole == length)
            return;
        for (var i = 0; i < Tile; i++)
        {
            for (var j = 0; j < Tile; j++)
                sums[i * Tile + j] += Tail(a.Slice(i * lda + (int)whole, length - (int)whole), b.Slice(j * ldb + (int)whole, length - (int)whole));
        }
    }
}
