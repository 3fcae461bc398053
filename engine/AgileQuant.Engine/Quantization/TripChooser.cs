using System.Numerics.Tensors;
using AgileQuant.Engine.Calibration;

namespace AgileQuant.Engine.Quantization;

/// <summary>
/// TRIP (PAPER: Agile-Quant, after FQ-ViT's power-of-two factors): the exponent a of every channel of an input, and whether the
/// weights take the factor folded or shifted. Candidates are ranked by what they are for: the error of the linears' outputs on
/// calibration tokens, activations and (rounded to nearest) weights quantized.
/// </summary>
internal sealed class TripChooser
{
    private const int MostExponent = 15;

    /// <summary>Tokens that candidates are compared on.</summary>
    public const int DefaultSamples = 1024;

    private readonly int _inputs;
    private readonly float[] _samples; // [rows][inputs]
    private readonly int _rows;
    private readonly IReadOnlyList<DenseLinear> _linears;
    private readonly float[][] _wanted; // by linear, [rows][outputs]
    private readonly WeightFormat _format;
    private readonly int _limit;

    /// <param name="windows">The input in every window, <c>[rows][inputs]</c>, after pruning.</param>
    /// <param name="linears">That read it.</param>
    /// <param name="format">Of their weights.</param>
    /// <param name="limit">Largest absolute activation.</param>
    /// <param name="samples">Tokens that candidates are compared on, at most.</param>
    public TripChooser(float[][] windows, IReadOnlyList<DenseLinear> linears, WeightFormat format, int limit, int samples = DefaultSamples)
    {
        (_inputs, _linears, _format, _limit) = (linears[0].Inputs, linears, format, limit);
        var all = windows.SelectMany(w => Enumerable.Range(0, w.Length / _inputs).Select(r => (Window: w, Row: r))).ToList();
        _rows = Math.Min(samples, all.Count);
        _samples = new float[_rows * _inputs];
        for (var i = 0; i < _rows; i++)
        {
            var (window, row) = all[(int)((long)i * all.Count / _rows)];
            window.AsSpan(row * _inputs, _inputs).CopyTo(_samples.AsSpan(i * _inputs));
        }

        _wanted = [.. linears.Select(l => Product(_samples, l.Weights, l.Outputs))];
    }

    /// <summary>Without factors.</summary>
    public InputPlan Plain => new() { Limit = _limit };

    /// <summary>The best factors for a scale for each token.</summary>
    public InputPlan Dynamic()
    {
        var (best, least) = (Plain, Error(Plain));
        foreach (var exponents in Candidates())
        {
            foreach (var order in Orders(exponents))
            {
                var plan = new InputPlan { Limit = _limit, Exponents = exponents, Order = order };
                var error = Error(plan);
                if (error < least)
                    (best, least) = (plan, error);
            }
        }

        return best;
    }

    /// <summary>
    /// The paper's: for every K one scale <c>s = (max - min) / (2 L) / 2^K</c> and one zero point for the input, for every channel the
    /// exponent whose step <c>2^a s</c> loses least of it; of those and of ranges clipped to a share, the one with the least error.
    /// </summary>
    public InputPlan Static()
    {
        float low = Math.Min(0, TensorPrimitives.Min<float>(_samples)), high = Math.Max(0, TensorPrimitives.Max<float>(_samples));
        InputPlan? best = null;
        var least = double.PositiveInfinity;
        for (var k = 0; k <= 8; k++)
        {
            foreach (var share in (float[])[1, 0.85f, 0.7f, 0.55f, 0.4f])
            {
                var step = Math.Max((high - low) * share / (2 * _limit), 1e-20f);
                var zero = Math.Clamp(MathF.Round(-(high + low) * share / 2 / step, MidpointRounding.ToEven), -_limit, _limit);
                var scale = step / (1 << k);
                var exponents = StaticExponents(scale, zero, k);
                foreach (var order in Orders(exponents))
                {
                    var plan = new InputPlan { Limit = _limit, Exponents = exponents, Order = order, Static = (scale, zero) };
                    var error = Error(plan);
                    if (error < least)
                        (best, least) = (plan, error);
                }
            }
        }

        return best!;
    }

    /// <summary>Squared error of the outputs, summed over samples and linears.</summary>
    public double Error(InputPlan plan)
    {
        var seen = new float[_samples.Length];
        Parallel.For(0, _rows, r =>
        {
            var places = seen.AsSpan(r * _inputs, _inputs);
            plan.ToPlaces(_samples.AsSpan(r * _inputs, _inputs), places);
            plan.Quantize(places, low: false);
        });
        double sum = 0;
        for (var l = 0; l < _linears.Count; l++)
        {
            var linear = new QuantizedLinear(_linears[l].Name, _inputs, _linears[l].Outputs, _format);
            PlainRounding.Quantize(linear, plan.WeightsToPlaces(_linears[l].Weights, _inputs));
            var product = Product(seen, linear.Dequantize(), linear.Outputs);
            var difference = new double[_rows];
            Parallel.For(0, _rows, r => difference[r] = Math.Pow(TensorPrimitives.Distance<float>(
                product.AsSpan(r * linear.Outputs, linear.Outputs), _wanted[l].AsSpan(r * linear.Outputs, linear.Outputs)), 2));
            sum += difference.Sum();
        }

        return sum;
    }

    /// <summary>
    /// Exponents from a channel's spread: <c>a = clamp(K + rint(strength * log2(spread / largest spread)), 0, K)</c>, for two measures of
    /// spread, two strengths and every K that changes anything.
    /// </summary>
    private IEnumerable<sbyte[]> Candidates()
    {
        var (largest, root) = (new float[_inputs], new double[_inputs]);
        for (var r = 0; r < _rows; r++)
        {
            for (var c = 0; c < _inputs; c++)
            {
                var x = _samples[r * _inputs + c];
                largest[c] = Math.Max(largest[c], Math.Abs(x));
                root[c] += x * (double)x;
            }
        }

        var seen = new HashSet<string>();
        foreach (var spread in (double[][])[Array.ConvertAll(largest, v => (double)v), Array.ConvertAll(root, Math.Sqrt)])
        {
            foreach (var strength in (double[])[1, 0.5])
            {
                for (var k = 1; k <= MostExponent; k++)
                {
                    var exponents = Exponents(spread, strength, k);
                    if (!seen.Add(Convert.ToHexString(System.Runtime.InteropServices.MemoryMarshal.AsBytes(exponents.AsSpan()))))
                        break; // a larger K changes nothing more
                    yield return exponents;
                }
            }
        }
    }

    private static sbyte[] Exponents(double[] spread, double strength, int k)
    {
        var top = spread.Max();
        var exponents = Array.ConvertAll(spread, s => s <= 0 || top <= 0
            ? (sbyte)0
            : (sbyte)Math.Clamp(k + Math.Round(strength * Math.Log2(s / top), MidpointRounding.ToEven), 0, k));
        var least = exponents.Min();
        return Array.ConvertAll(exponents, e => (sbyte)(e - least));
    }

    private sbyte[] StaticExponents(float scale, float zero, int k)
    {
        var exponents = new sbyte[_inputs];
        Parallel.For(0, _inputs, c =>
        {
            var least = double.PositiveInfinity;
            for (var a = 0; a <= k; a++)
            {
                var step = scale * (1 << a);
                double sum = 0;
                for (var r = 0; r < _rows; r++)
                {
                    var x = _samples[r * _inputs + c];
                    var q = Math.Clamp(MathF.Round(x / step, MidpointRounding.ToEven), -_limit - zero, _limit - zero);
                    sum += (x - q * step) * (double)(x - q * step);
                }

                if (sum < least)
                    (least, exponents[c]) = (sum, (sbyte)a);
            }
        });
        return exponents;
    }

    /// <summary>Folded, and for int4 groups shifted: by exponent, in it by the size of the weights, so that a group's weights are alike.</summary>
    private IEnumerable<int[]?> Orders(sbyte[] exponents)
    {
        yield return null;
        if (_format.Bits == 8 || _format.Groups(_inputs).Count == 1)
            yield break;
        var size = new double[_inputs];
        foreach (var linear in _linears)
        {
            for (var i = 0; i < linear.Weights.Length; i++)
                size[i % _inputs] += Math.Abs(linear.Weights[i]);
        }

        yield return [.. Enumerable.Range(0, _inputs).OrderBy(c => exponents[c]).ThenBy(c => c)];
        yield return [.. Enumerable.Range(0, _inputs).OrderBy(c => exponents[c]).ThenBy(c => size[c]).ThenBy(c => c)];
    }

    private float[] Product(float[] rows, float[] weights, int outputs)
    {
        var result = new float[_rows * outputs];
        MatrixProduct.MultiplyParallel(rows, weights, result, _rows, outputs, _inputs);
        return result;
    }
}
