namespace AgileQuant.Engine.Reference;

/// <summary>A matrix product as a precision defines it, and the bias added to it. Weights are <c>[out][in]</c>.</summary>
public abstract class Linear
{
    public required int Inputs { get; init; }

    public required int Outputs { get; init; }

    /// <summary><c>[out]</c>, added in fp32 to the finished product; empty: none.</summary>
    public float[] Bias { get; init; } = [];

    /// <param name="x">One token, <see cref="Inputs"/> values.</param>
    /// <param name="low">The token carries 4-bit activations.</param>
    /// <returns><see cref="Outputs"/> values.</returns>
    public float[] Apply(ReadOnlySpan<float> x, bool low = false)
    {
        var y = Product(x, low);
        for (var o = 0; o < Bias.Length; o++)
            y[o] += Bias[o];
        return y;
    }

    private protected abstract float[] Product(ReadOnlySpan<float> x, bool low);
}

/// <summary>16-bit weights widened to fp32, fp32 arithmetic, additions in the order of <see cref="Sums.Product"/>.</summary>
public sealed class HalfLinear : Linear
{
    /// <summary><c>[in][out]</c>, widened: all outputs of one input lie together.</summary>
    public required float[] Columns { get; init; }

    /// <summary>bf16: the input is rounded to bf16, so that the products are exact.</summary>
    public bool RoundsInput { get; init; }

    /// <param name="rows"><c>[out][in]</c>, as a pack stores them.</param>
    /// <param name="inputs">Values of a row.</param>
    /// <param name="outputs">Rows.</param>
    /// <param name="roundsInput">The weights are bf16.</param>
    /// <param name="bias"><c>[out]</c>; null: none.</param>
    public static HalfLinear FromRows(float[] rows, int inputs, int outputs, bool roundsInput = false, float[]? bias = null)
    {
        var columns = new float[rows.Length];
        Parallel.For(0, inputs, i =>
        {
            for (var o = 0; o < outputs; o++)
                columns[i * outputs + o] = rows[o * inputs + i];
        });
        return new HalfLinear { Inputs = inputs, Outputs = outputs, Columns = columns, RoundsInput = roundsInput, Bias = bias ?? [] };
    }

    private protected override float[] Product(ReadOnlySpan<float> x, bool low)
    {
        if (RoundsInput)
        {
            var rounded = x.ToArray();
            Operations.RoundToBrain(rounded);
            x = rounded;
        }

        var y = new float[Outputs];
        Sums.Product(x, i => Columns.AsSpan(i * Outputs, Outputs), y);
        return y;
    }
}

/// <summary><c>y = s_x * (s_w * (float)acc)</c></summary>
public sealed class Int8Linear : Linear
{
    public required LinearInput Input { get; init; }

    /// <summary><c>[out][in]</c>, -127..127.</summary>
    public required int[] Weights { get; init; }

    /// <summary><c>[out]</c></summary>
    public required float[] Scales { get; init; }

    private protected override float[] Product(ReadOnlySpan<float> x, bool low)
    {
        var quantized = new int[Inputs];
        var scale = Input.Quantize(x, low, quantized);
        var y = new float[Outputs];
        for (var o = 0; o < Outputs; o++)
            y[o] = scale * (Scales[o] * Accumulators.Row(quantized, Weights.AsSpan(o * Inputs, Inputs)));
        return y;
    }
}

/// <summary><c>y = s_x * sum over groups, ascending, of s_w[g] * (float)acc[g]</c>, fp32.</summary>
public sealed class Int4Linear : Linear
{
    public required LinearInput Input { get; init; }

    /// <summary>Elements that share a scale.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Scales a row.</summary>
    public required int Groups { get; init; }

    /// <summary><c>[out][groups * group size]</c>: -8..7, or with zero points q - z, -15..15; padding is 0.</summary>
    public required int[] Weights { get; init; }

    /// <summary><c>[out][groups]</c>, fp16 values widened.</summary>
    public required float[] Scales { get; init; }

    private protected override float[] Product(ReadOnlySpan<float> x, bool low)
    {
        var quantized = new int[Groups * GroupSize]; // padding stays 0
        var scale = Input.Quantize(x, low, quantized.AsSpan(0, Inputs));
        var y = new float[Outputs];
        for (var o = 0; o < Outputs; o++)
        {
            float sum = 0;
            for (var g = 0; g < Groups; g++)
            {
                var weights = Weights.AsSpan((o * Groups + g) * GroupSize, GroupSize);
                sum += Scales[o * Groups + g] * Accumulators.Row(quantized.AsSpan(g * GroupSize, GroupSize), weights);
            }

            y[o] = scale * sum;
        }

        return y;
    }
}
