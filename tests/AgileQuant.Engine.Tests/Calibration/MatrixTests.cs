using AgileQuant.Engine.Calibration;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Calibration;

public sealed class MatrixTests
{
    [Fact]
    public void Products_are_those_of_the_definition_for_every_shape()
    {
        var shapes =
            from m in Gen.Choose(1, 19)
            from n in Gen.Choose(1, 70)
            from k in Gen.Elements(1, 5, 16, 33, 1024, 1030)
            from seed in Gen.Choose(0, 1000)
            select (m, n, k, seed);

        Prop.ForAll(shapes.ToArbitrary(), s =>
        {
            var (a, b) = (Values(s.m * s.k, s.seed), Values(s.n * s.k, s.seed + 1));
            var (parallel, taken) = (new float[s.m * s.n], new float[s.m * s.n]);
            MatrixProduct.MultiplyParallel(a, b, parallel, s.m, s.n, s.k);
            MatrixProduct.Multiply(a, s.k, b, s.k, taken, s.n, s.m, s.n, s.k, subtract: true);
            for (var i = 0; i < s.m; i++)
            {
                for (var j = 0; j < s.n; j++)
                {
                    var expected = Enumerable.Range(0, s.k).Sum(l => (double)a[i * s.k + l] * b[j * s.k + l]);
                    if (Math.Abs(parallel[i * s.n + j] - expected) > 1e-4 * s.k || taken[i * s.n + j] != -parallel[i * s.n + j])
                        return false;
                }
            }

            return true;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(30));
    }

    [Fact]
    public void The_factor_gives_the_inverse_back()
    {
        Prop.ForAll(Gen.Choose(1, 150).ToArbitrary(), n =>
        {
            var h = Positive(n, n);
            var lower = Cholesky.TransposedFactorOfInverse([.. h], n); // U^T; U^T U is the inverse
            for (var i = 0; i < n; i++)
            {
                for (var j = 0; j < n; j++)
                {
                    double sum = 0; // H U^T U
                    for (var l = 0; l < n; l++)
                    {
                        double inverse = 0;
                        for (var p = 0; p <= Math.Min(l, j); p++)
                            inverse += lower[l * n + p] * lower[j * n + p];
                        sum += h[i * n + l] * inverse;
                    }

                    if (Math.Abs(sum - (i == j ? 1 : 0)) > 1e-8)
                        return false;
                }
            }

            return true;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(12));
    }

    [Fact]
    public void A_matrix_that_is_not_positive_definite_is_refused() =>
        Should.Throw<ArithmeticException>(() => Cholesky.Factor([1, 2, 2, 1], 2)).Message.ShouldContain("not positive definite");

    internal static float[] Values(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() * 2 - 1))];
    }

    /// <summary>Symmetric, with eigenvalues well above 0.</summary>
    internal static double[] Positive(int n, int seed)
    {
        var x = Values(2 * n * n, seed);
        var h = new double[n * n];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < n; j++)
                h[i * n + j] = Enumerable.Range(0, 2 * n).Sum(t => (double)x[t * n + i] * x[t * n + j]) + (i == j ? 0.5 : 0);
        }

        return h;
    }
}
