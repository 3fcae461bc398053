using AgileQuant.Engine.Calibration;
using AgileQuant.Engine.Quantization;
using AgileQuant.Engine.Tests.Calibration;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Quantization;

public sealed class TripTests
{
    private const int Inputs = 96;
    private const int Outputs = 40;
    private const int Rows = 200;
    private static readonly WeightFormat Format = new(4, 32, false);

    [Theory]
    [InlineData(7)]
    [InlineData(127)]
    public void Outliers_by_a_power_of_two_cost_nothing(int limit)
    {
        Prop.ForAll(Gen.Choose(0, 10000).ToArbitrary(), seed =>
        {
            var (x, w) = Problem(seed);
            var (outlierX, outlierW) = WithOutliers(x, w, seed);
            var plain = new TripChooser([x], [Linear(w)], Format, limit);
            var trip = new TripChooser([outlierX], [Linear(outlierW)], Format, limit);

            var best = trip.Dynamic();

            // The same function: what TRIP leaves is at most the error that there was without outliers.
            return trip.Error(best) <= plain.Error(plain.Plain) * 1.0001 && best.Exponents!.Max() >= 5;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(10));
    }

    [Fact]
    public void The_exact_factors_give_the_integers_without_outliers()
    {
        var (x, w) = Problem(1);
        var (outlierX, outlierW) = WithOutliers(x, w, 1);
        var exponents = new sbyte[Inputs];
        for (var c = 0; c < Inputs; c++)
            exponents[c] = (sbyte)(outlierX[c] == x[c] ? 0 : 5);
        var plan = new InputPlan { Limit = 7, Exponents = exponents };
        var none = new InputPlan { Limit = 7 };
        var (seen, wanted) = (new float[Inputs], x[..Inputs]);

        plan.ToPlaces(outlierX.AsSpan(0, Inputs), seen);
        plan.Quantize(seen, low: false);
        none.Quantize(wanted, low: false);

        seen.ShouldBe(wanted);
        plan.WeightsToPlaces(outlierW, Inputs).ShouldBe(w);
    }

    [Fact]
    public void An_order_of_the_places_leaves_the_product_as_it_is()
    {
        var (x, w) = Problem(2);
        var random = new Random(2);
        var order = Enumerable.Range(0, Inputs).ToArray();
        random.Shuffle(order);
        var plan = new InputPlan { Limit = 127, Exponents = [.. order.Select(_ => (sbyte)random.Next(6))], Order = order };
        var places = new float[Inputs];
        plan.ToPlaces(x.AsSpan(0, Inputs), places);

        var shifted = Linear(plan.WeightsToPlaces(w, Inputs)).Apply(places);

        var wanted = Linear(w).Apply(x.AsSpan(0, Inputs));
        for (var o = 0; o < Outputs; o++)
            shifted[o].ShouldBe(wanted[o], 1e-4f);
    }

    [Fact]
    public void A_static_scale_fits_inputs_that_are_not_centered()
    {
        var (x, w) = Problem(3);
        var moved = Array.ConvertAll(x, v => v + 3);
        var chooser = new TripChooser([moved], [Linear(w)], Format, 127);

        var plan = chooser.Static();

        plan.Static!.Value.Zero.ShouldBeLessThan(-50); // the range is about 2..4
        var places = new float[Inputs];
        plan.ToPlaces(moved.AsSpan(0, Inputs), places);
        var before = places.ToArray();
        plan.Quantize(places, low: false);
        for (var i = 0; i < Inputs; i++)
            places[i].ShouldBe(before[i], plan.Static.Value.Scale * 0.51f);
    }

    [Fact]
    public void What_a_zero_point_adds_is_taken_off_in_the_bias()
    {
        var (x, w) = Problem(4);
        var plan = new InputPlan { Limit = 127, Exponents = new sbyte[Inputs], Static = (0.05f, -40) };
        var linear = new QuantizedLinear("a", Inputs, Outputs, Format) { Bias = MatrixTests.Values(Outputs, 4) };
        PlainRounding.Quantize(linear, w);
        var (weights, bias) = (linear.Dequantize(), linear.Bias!);
        var seen = Array.ConvertAll(x[..Inputs], v => v + 2);
        plan.Quantize(seen, low: false);

        StaticZero.AddToBias(linear, plan, weights);

        for (var o = 0; o < Outputs; o++)
        {
            double wanted = bias[o], product = linear.Bias[o];
            for (var i = 0; i < Inputs; i++)
            {
                wanted += (double)seen[i] * weights[o * Inputs + i]; // s (q - z)
                product += ((double)seen[i] + 0.05f * -40.0) * weights[o * Inputs + i]; // s q, as the kernels have it
            }

            product.ShouldBe(wanted, 1e-4);
        }
    }

    private static DenseLinear Linear(float[] weights) => new("a", Inputs, Outputs, weights, null);

    private static (float[] X, float[] W) Problem(int seed) =>
        (MatrixTests.Values(Rows * Inputs, seed), MatrixTests.Values(Outputs * Inputs, seed + 1));

    private static (float[] X, float[] W) WithOutliers(float[] x, float[] w, int seed)
    {
        var random = new Random(seed);
        var chosen = Enumerable.Range(0, Inputs).OrderBy(_ => random.Next()).Take(8).ToHashSet();
        return (
            [.. x.Select((v, i) => chosen.Contains(i % Inputs) ? v * 32 : v)], [.. w.Select((v, i) => chosen.Contains(i % Inputs) ? v / 32 : v)]);
    }
}
