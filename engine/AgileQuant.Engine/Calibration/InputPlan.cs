using System.Numerics.Tensors;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// How the input of one or several linears is quantized (docs/packed-model.md, "TRIP"), and its fp32 image: what the integer
/// product really multiplies. "Places" are the columns of the stored weights, which a shifted input orders by factor.
/// </summary>
internal sealed record InputPlan
{
    /// <summary>Largest absolute activation, 127 or 7.</summary>
    public required int Limit { get; init; }

    /// <summary>TRIP's exponent of each channel, 0..15; null: none.</summary>
    public sbyte[]? Exponents { get; init; }

    /// <summary>Shifted: channel at each place; null: places are channels.</summary>
    public int[]? Order { get; init; }

    /// <summary>Calibrated scale and zero point; null: a scale for each row.</summary>
    public (float Scale, float Zero)? Static { get; init; }

    /// <summary><c>x * 2^-a</c>, in places.</summary>
    public void ToPlaces(ReadOnlySpan<float> row, Span<float> places)
    {
        if (Exponents is null)
        {
            row.CopyTo(places);
            return;
        }

        for (var j = 0; j < places.Length; j++)
        {
            var channel = Order is null ? j : Order[j];
            places[j] = row[channel] * Power(-Exponents[channel]);
        }
    }

    /// <summary>Columns of weights that give the same product from places: <c>w * 2^a</c>.</summary>
    /// <param name="weights"><c>[rows][inputs]</c></param>
    public float[] WeightsToPlaces(float[] weights, int inputs)
    {
        if (Exponents is null)
            return weights;
        var result = new float[weights.Length];
        Parallel.For(0, weights.Length / inputs, row =>
        {
            for (var j = 0; j < inputs; j++)
            {
                var channel = Order is null ? j : Order[j];
                result[row * inputs + j] = weights[row * inputs + channel] * Power(Exponents[channel]);
            }
        });
        return result;
    }

    /// <summary>
    /// Replaces places by what their integers stand for: <c>s * q</c>, or <c>s * (q - z)</c> with a static scale; as
    /// <see cref="Quantization.Quantizers.Activations"/> rounds.
    /// </summary>
    /// <param name="places">One token.</param>
    /// <param name="low">The token carries 4-bit activations whatever <see cref="Limit"/> says.</param>
    public void Quantize(Span<float> places, bool low)
    {
        float limit = low ? 7 : Limit;
        if (Static is var (scale, zero))
        {
            TensorPrimitives.Multiply(places, 1f / scale, places);
            TensorPrimitives.Round(places, MidpointRounding.ToEven, places);
            TensorPrimitives.Min(places, limit - zero, places);
            TensorPrimitives.Max(places, -limit - zero, places);
            TensorPrimitives.Multiply(places, scale, places);
            return;
        }

        var largest = MathF.Abs(TensorPrimitives.MaxMagnitude<float>(places));
        var inverse = limit / largest;
        if (largest == 0 || inverse > 3e38f)
        {
            places.Clear();
            return;
        }

        TensorPrimitives.Multiply(places, inverse, places);
        TensorPrimitives.Round(places, MidpointRounding.ToEven, places);
        TensorPrimitives.Multiply(places, largest / limit, places);
    }

    private static float Power(int exponent) => BitConverter.Int32BitsToSingle((exponent + 127) << 23);
}
