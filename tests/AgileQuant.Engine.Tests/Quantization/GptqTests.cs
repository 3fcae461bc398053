using AgileQuant.Engine.Quantization;
using AgileQuant.Engine.Tests.Calibration;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

public sealed class GptqTests
{
    [Theory]
    [InlineData(8, 0, false)]
    [InlineData(4, 32, false)]
    [InlineData(4, 0, false)]
    [InlineData(4, 32, true)]
    public void Its_error_in_the_norm_of_the_hessian_is_below_that_of_rounding(int bits, int groupSize, bool hasZeros)
    {
        var format = new WeightFormat(bits, groupSize, hasZeros);
        Prop.ForAll(Gen.Choose(0, 10000).ToArbitrary(), seed =>
        {
            const int Inputs = 72, Outputs = 24; // the last group is not full
            var hessian = Correlated(Inputs, seed);
            var weights = MatrixTests.Values(Inputs * Outputs, seed + 1);
            var (rounded, best) = (new QuantizedLinear("a", Inputs, Outputs, format), new QuantizedLinear("b", Inputs, Outputs, format));

            PlainRounding.Quantize(rounded, weights);
            new Gptq(hessian, Inputs).Quantize(best, weights, CancellationToken.None);

            return Error(best, weights, hessian) < Error(rounded, weights, hessian);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(25));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Weights_that_are_on_the_grid_are_recovered(bool hasZeros)
    {
        const int Inputs = 64, Outputs = 16;
        var random = new Random(3);
        // Every group holds both ends of its range, so that the plain scale is the grid's own: 1/8.
        var weights = Enumerable.Range(0, Inputs * Outputs).Select(i => (i % 32) switch
        {
            0 => hasZeros ? -6 : -7,
            1 => hasZeros ? 9 : 7,
            _ => random.Next(-6, 7),
        } / 8f).ToArray();
        var linear = new QuantizedLinear("a", Inputs, Outputs, new WeightFormat(4, 32, hasZeros));

        new Gptq(Correlated(Inputs, 1), Inputs).Quantize(linear, weights, CancellationToken.None);

        linear.Dequantize().ShouldBe(weights);
    }

    [Fact]
    public void How_the_work_is_scheduled_changes_nothing()
    {
        const int Inputs = 160, Outputs = 100;
        var (hessian, weights) = (Correlated(Inputs, 5), MatrixTests.Values(Inputs * Outputs, 6));
        var drift = Correlated(Inputs, 7);
        var alone = Made();

        var crowded = new QuantizedLinear[8];
        Parallel.For(0, crowded.Length, i => crowded[i] = Made()); // all of them share the threads that one had

        foreach (var linear in crowded)
        {
            linear.Values.ShouldBe(alone.Values);
            linear.Scales.ShouldBe(alone.Scales);
        }

        QuantizedLinear Made()
        {
            var gptq = new Gptq(hessian, Inputs);
            var linear = new QuantizedLinear("a", Inputs, Outputs, new WeightFormat(4, 32, false));
            gptq.Quantize(linear, gptq.Corrected(weights, drift), CancellationToken.None);
            return linear;
        }
    }

    [Fact]
    public void Drift_is_made_good_when_inputs_can_say_it()
    {
        // x' = x / 2 for every channel: weights twice as large give the same product.
        const int Inputs = 48, Outputs = 8;
        var hessian = Correlated(Inputs, 9);
        var weights = MatrixTests.Values(Inputs * Outputs, 10);
        var gptq = new Gptq(hessian, Inputs, damping: 1e-9);

        var corrected = gptq.Corrected(weights, hessian); // D = sum of (x - x') x'^T = sum of x' x'^T

        for (var i = 0; i < weights.Length; i++)
            corrected[i].ShouldBe(2 * weights[i], 2e-3);
    }

    [Fact]
    public void A_channel_that_never_varies_does_no_harm()
    {
        const int Inputs = 32, Outputs = 4;
        var hessian = Correlated(Inputs, 2);
        for (var i = 0; i < Inputs; i++)
            hessian[i * Inputs + 3] = hessian[3 * Inputs + i] = 0;
        var linear = new QuantizedLinear("a", Inputs, Outputs, new WeightFormat(4, 32, false));

        new Gptq(hessian, Inputs).Quantize(linear, MatrixTests.Values(Inputs * Outputs, 2), CancellationToken.None);

        linear.Dequantize().ShouldAllBe(w => float.IsFinite(w) && Math.Abs(w) < 2);
    }

    /// <summary>Inputs that share a direction, as activations do.</summary>
    private static double[] Correlated(int n, int seed)
    {
        var h = MatrixTests.Positive(n, seed);
        var shared = MatrixTests.Values(n, seed + 100);
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < n; j++)
                h[i * n + j] += n * shared[i] * shared[j];
        }

        return h;
    }

    private static double Error(QuantizedLinear linear, float[] weights, double[] hessian)
    {
        var n = linear.Inputs;
        var dequantized = linear.Dequantize();
        double sum = 0;
        for (var o = 0; o < linear.Outputs; o++)
        {
            for (var i = 0; i < n; i++)
            {
                for (var j = 0; j < n; j++)
                    sum += (dequantized[o * n + i] - weights[o * n + i]) * hessian[i * n + j] * (dequantized[o * n + j] - weights[o * n + j]);
            }
        }

        return sum;
    }
}
