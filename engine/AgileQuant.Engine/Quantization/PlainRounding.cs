namespace AgileQuant.Engine.Quantization;

/// <summary>Round to nearest with the contract's scales.</summary>
internal static class PlainRounding
{
    /// <param name="linear">Gets values and scales.</param>
    /// <param name="weights"><c>[outputs][inputs]</c>, in places.</param>
    public static void Quantize(QuantizedLinear linear, float[] weights)
    {
        var (size, groups) = linear.Format.Groups(linear.Inputs);
        Parallel.For(0, linear.Outputs, o =>
        {
            var values = new sbyte[linear.Inputs];
            for (var g = 0; g < groups; g++)
            {
                var length = Math.Min(size, linear.Inputs - g * size);
                var group = weights.AsSpan(o * linear.Inputs + g * size, length);
                var (scale, zero) = linear.Format.Plain(group);
                linear.Scales[o * groups + g] = scale;
                if (linear.Format.HasZeros)
                    linear.Zeros[o * groups + g] = (sbyte)zero;
                for (var i = 0; i < length; i++)
                    values[g * size + i] = (sbyte)linear.Format.Round(group[i], scale, zero);
            }

            linear.FinishRow(o, values);
        });
    }
}
