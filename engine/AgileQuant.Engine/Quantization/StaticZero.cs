using AgileQuant.Engine.Calibration;

namespace AgileQuant.Engine.Quantization;

/// <summary>What a static zero point adds to a product, taken off in the linear's bias (docs/packed-model.md, "TRIP").</summary>
internal static class StaticZero
{
    /// <summary><c>bias -= s * z * sum of the dequantized weights</c>, in fp64, rounded once.</summary>
    public static void AddToBias(QuantizedLinear linear, InputPlan plan, float[] dequantized)
    {
        if (plan.Static is not var (scale, zero) || zero == 0)
            return;
        var bias = linear.Bias is null ? new float[linear.Outputs] : [.. linear.Bias];
        for (var o = 0; o < linear.Outputs; o++)
        {
            double sum = 0;
            foreach (var weight in dequantized.AsSpan(o * linear.Inputs, linear.Inputs))
                sum += weight;
            bias[o] = (float)(bias[o] - scale * (double)zero * sum);
        }

        linear.Bias = bias;
    }
}
