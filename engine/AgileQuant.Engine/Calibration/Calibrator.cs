using System.Numerics.Tensors;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// Goes through a model layer by layer, and in a layer input by input, with the calibration windows in two forward passes side by
/// side: one in fp32, and one that computes as the packed model will. Each linear is quantized when its turn comes, so that later
/// ones see (and GPTQ makes good for) the errors of the earlier ones ("true sequential").
/// Memory: two residual streams, and two inputs and two results of one place, for all windows: rows * (4 dimension + 2 widest input) * 4
/// bytes; the fp32 weights of one place, twice; its statistics in fp64 (2 * inputs^2 * 8 bytes, and three times as much again while GPTQ factors them).
/// </summary>
internal sealed class Calibrator
{
    private readonly ModelWeights _model;
    private readonly Precision _precision;
    private readonly WeightFormat _format;
    private readonly CalibratorOptions _options;
    private readonly ForwardPass _full;
    private readonly ForwardPass _quantized;
    private readonly int[][] _windows;
    private readonly Action<QuantizedLinear> _store;
    private readonly PackRecipe _recipe;
    private readonly QuantizationPlan _plan;
    private readonly TokenSteps _tokens;
    private int _layer; // the next one
    private TokenRows[] _fullRows = [];
    private TokenRows[] _rows = [];

    /// <param name="model">The canonical model.</param>
    /// <param name="recipe">The recipe.</param>
    /// <param name="windows">Calibration windows.</param>
    /// <param name="options">What is tried in experiments and probes.</param>
    /// <param name="store">Takes each linear when it is quantized.</param>
    public Calibrator(ModelWeights model, PackRecipe recipe, int[][] windows, CalibratorOptions options, Action<QuantizedLinear> store)
    {
        (_model, _recipe, _precision, _windows, _options, _store) = (model, recipe, recipe.Precision, windows, options, store);
        var shape = model.Shape;
        _format = new WeightFormat(recipe.Precision.WeightBits, recipe.GroupSize, recipe.Precision.Options.Asymmetric);
        _full = new ForwardPass(shape, model.RopeFactors, ProbabilityFormat.Full, 32);
        _quantized = new ForwardPass(
            shape, model.RopeFactors, recipe.Precision.Probabilities, recipe.Precision.Options.Int8KeyValues ? 8 : 16);
        _plan = new QuantizationPlan(shape.Layers) { Kept = options.Kept };
        var choices = recipe.Precision.Options;
        _plan.LowThresholds = choices.LowRatio > 0 ? new StartThresholds(options.StartToken, shape.Layers) : null;
        _plan.PruneThresholds = choices.Prune == PruneMode.Threshold ? new StartThresholds(options.StartToken, shape.Layers) : null;
        _plan.Tokens = options.Tokens ?? TokenPlan.Plain(shape.Layers, choices);
        _tokens = new TokenSteps(_plan.Tokens, choices.Prune, _plan, windows.Length - options.ValidationWindows);
    }

    /// <summary>Windows whose tokens count: those behind are only carried along, for validation.</summary>
    private IEnumerable<int> Training => Enumerable.Range(0, _windows.Length - _options.ValidationWindows);

    /// <param name="progress">Share of the layers that is done.</param>
    /// <param name="cancellation">Stops between the inputs of a layer.</param>
    public QuantizationPlan Run(IProgress<double>? progress, CancellationToken cancellation)
    {
        while (_layer < _model.Shape.Layers)
        {
            Step(cancellation);
            progress?.Report((double)_layer / _model.Shape.Layers);
        }

        return _plan;
    }

    /// <summary>Goes through one more layer.</summary>
    public void Step(CancellationToken cancellation)
    {
        Start();
        RunLayer(_layer, cancellation);
        if (!_options.QuantizedOnly)
            _plan.Layers.Add(Explain(_layer));
        _layer++;
    }

    /// <summary>A probe that goes on from here with other options: quantized pass alone, nothing stored.</summary>
    public Calibrator Fork(CalibratorOptions options)
    {
        Start();
        return new Calibrator(_model, _recipe, _windows, options with { QuantizedOnly = true }, _ => { })
        {
            _layer = _layer,
            _rows = [.. _rows.Select(r => r.Clone())],
        };
    }

    /// <summary>NLLs after <see cref="Run"/>, by window: all targets of the quantized pass, and of the one in fp32.</summary>
    public (float[][] Quantized, float[][] Full) Score(IEnumerable<int> windows)
    {
        var head = new OutputHead(_model, _full);
        var chosen = windows.ToArray();
        return ([.. chosen.Select(w => head.Score(_rows[w], quantized: true))], _options.QuantizedOnly ? [] : [.. chosen.Select(w => head.Score(_fullRows[w], quantized: false))]);
    }

    /// <summary>Embeds the windows, once.</summary>
    private void Start()
    {
        if (_rows.Length > 0)
            return;
        var streams = _model.Embed(_windows);
        if (_model.Shape.HasEmbeddingNorm)
        {
            var norm = _model.Norm("token_embd_norm");
            streams = Array.ConvertAll(streams, s => _full.Norm(s, norm));
        }

        _rows = [.. _windows.Zip(streams, (ids, stream) => new TokenRows(ids, stream))];
        _fullRows = _options.QuantizedOnly ? [] : [.. _rows.Select(r => r.Clone())];
    }

    private void RunLayer(int layer, CancellationToken cancellation)
    {
        var shape = _model.Shape;
        var prefix = ModelWeights.Prefix(layer);
        var (attentionNorm, feedForwardNorm) = (_model.Norm(prefix + "attn_norm"), _model.Norm(prefix + "ffn_norm"));

        var importance = Array.ConvertAll(_rows, r => new float[r.Count]);
        var (inputs, full) = Apply(
            layer, 0, Normed(_rows, attentionNorm), Normed(_fullRows, attentionNorm),
            (w, outputs) => Attention(_quantized, outputs, _rows[w], importance[w]),
            (w, outputs) => Attention(_full, outputs, _fullRows[w], new float[_fullRows[w].Count]), cancellation);
        _tokens.ChooseLow(layer, _rows, importance);
        Apply(layer, 1, inputs, full, (w, o) => Add(_rows[w], o[0], attentionNorm), (w, o) => Add(_fullRows[w], o[0], attentionNorm), cancellation);
        _tokens.Prune(layer, _rows, importance);

        (inputs, full) = Apply(
            layer, 2, Normed(_rows, feedForwardNorm), Normed(_fullRows, feedForwardNorm), (_, outputs) => Middle(outputs),
            (_, outputs) => Middle(outputs), cancellation);
        Apply(layer, 3, inputs, full, (w, o) => Add(_rows[w], o[0], feedForwardNorm), (w, o) => Add(_fullRows[w], o[0], feedForwardNorm), cancellation);

        float[][] Normed(TokenRows[] rows, NormWeights norm) =>
            Each(rows.Length, w => shape.NormAfter ? [.. rows[w].Stream] : _full.Norm(rows[w].Stream, norm));
        float[] Middle(float[][] linears) => _full.Activate(linears.Length == 2 ? linears[0] : null, linears[^1]);
    }

    /// <summary>Chooses how the input of a place is quantized, quantizes its linears, and applies them window by window.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="place">Of the input in it.</param>
    /// <param name="inputs"><c>[window][rows * inputs]</c>; each is given up when its window is done.</param>
    /// <param name="fullInputs">In the pass in fp32; empty without one.</param>
    /// <param name="next">What becomes of a window's outputs, <c>[linear][rows * outputs]</c>.</param>
    /// <param name="nextFull">The same in the pass in fp32.</param>
    /// <param name="cancellation">Stops between blocks of rows.</param>
    /// <returns>What came of it, by window.</returns>
    private (float[][] Quantized, float[][] Full) Apply(
        int layer, int place, float[][] inputs, float[][] fullInputs, Func<int, float[][], float[]> next, Func<int, float[][], float[]> nextFull,
        CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var dense = _model.Linears(layer)[place].Select(_model.Linear).ToArray();
        var width = dense[0].Inputs;
        var plan = _plan.Inputs[layer][place] = Choose(layer, place, inputs, dense);
        var (linears, rounded) = Quantize(layer, place, plan, dense, inputs, fullInputs, cancellation);
        var outliers = _options.QuantizedOnly ? 0 : OutlierChannels(Training.Select(w => inputs[w]), width);
        var errors = new (double Error, double Norm)[_windows.Length, dense.Length];
        var results = (Quantized: new float[_windows.Length][], Full: new float[_fullRows.Length][]);
        Parallel.For(0, _windows.Length, w =>
        {
            var seen = Seen(plan, place, w, inputs[w], width);
            var outputs = Array.ConvertAll(rounded, l => l.Apply(seen));
            inputs[w] = [];
            if (!_options.QuantizedOnly)
            {
                var wanted = Array.ConvertAll(dense, l => l.Apply(fullInputs[w]));
                fullInputs[w] = [];
                for (var l = 0; l < dense.Length; l++)
                    errors[w, l] = Error(outputs[l], TokenRows.Gather(wanted[l], _rows[w].Index, dense[l].Outputs));
                results.Full[w] = nextFull(w, wanted);
            }

            results.Quantized[w] = next(w, outputs);
        });
        for (var l = 0; l < dense.Length && !_options.QuantizedOnly; l++)
            _plan.Linears.Add(Explain(layer, place, linears[l], plan, outliers, [.. Training.Select(w => errors[w, l])]));
        return results;
    }

    /// <returns>The linears of a place, and as what they stand for.</returns>
    private (QuantizedLinear[] Linears, DenseLinear[] Rounded) Quantize(
        int layer, int place, InputPlan plan, DenseLinear[] dense, float[][] inputs, float[][] fullInputs, CancellationToken cancellation)
    {
        var width = dense[0].Inputs;
        Gptq? gptq = null;
        InputStatistics? statistics = null;
        if (_precision.Options.Gptq && !_options.WithoutGptq)
        {
            statistics = new InputStatistics(width);
            foreach (var w in Training)
                statistics.Add(Seen(plan, place, w, inputs[w], width), Places(plan, TokenRows.Gather(fullInputs[w], _rows[w].Index, width), width));
            gptq = new Gptq(statistics.Hessian, width, _options.Damping);
        }

        var (linears, rounded) = (new QuantizedLinear[dense.Length], new DenseLinear[dense.Length]);
        for (var l = 0; l < dense.Length; l++)
        {
            var weights = plan.WeightsToPlaces(dense[l].Weights, width);
            var linear = linears[l] = new QuantizedLinear(dense[l].Name, width, dense[l].Outputs, FormatOf(layer, place)) { Bias = dense[l].Bias };
            if (gptq is null)
                PlainRounding.Quantize(linear, weights);
            else
                gptq.Quantize(linear, _options.Drift > 0 ? gptq.Corrected(weights, statistics!.Drift, _options.Drift) : weights, cancellation);
            rounded[l] = dense[l] with { Weights = linear.Dequantize() };
            StaticZero.AddToBias(linear, plan, rounded[l].Weights);
            _store(linear);
        }

        return (linears, rounded);
    }

    /// <summary>A window's input as the product sees it, in places.</summary>
    private float[] Seen(InputPlan plan, int place, int window, float[] input, int width) =>
        Quantize(plan, input, width, place == 0 ? null : _rows[window].IsLow);

    private static (double Error, double Norm) Error(float[] found, float[] wanted) =>
        (Math.Pow(TensorPrimitives.Distance<float>(found, wanted), 2), TensorPrimitives.SumOfSquares<float>(wanted));

    private InputPlan Choose(int layer, int place, float[][] inputs, DenseLinear[] linears)
    {
        var limit = _precision.ActivationBits == 8 || _plan.Kept?.Contains((layer, place)) == true ? 127 : 7;
        if (_options.Inputs is { } given)
            return given[layer][place] with { Limit = limit };
        if (_precision.Options.Trip == TripMode.None)
            return new InputPlan { Limit = limit };
        var chooser = new TripChooser([.. Training.Select(w => inputs[w])], linears, FormatOf(layer, place), limit, _options.TripSamples);
        return _precision.Options.Trip == TripMode.Static ? chooser.Static() : chooser.Dynamic();
    }

    private WeightFormat FormatOf(int layer, int place) =>
        _options.KeptWeights8 && _plan.Kept?.Contains((layer, place)) == true ? new WeightFormat(8, 0, false) : _format;

    private float[] Attention(ForwardPass pass, float[][] linears, TokenRows rows, float[] importance)
    {
        var shape = _model.Shape;
        if (!shape.HasFusedQkv)
            return pass.Attend(linears[0], linears[1], linears[2], rows.Positions, importance);
        int dim = shape.Dimension, kv = shape.KvHeads * shape.HeadDimension, all = dim + 2 * kv;
        var (q, k, v) = (new float[rows.Count * dim], new float[rows.Count * kv], new float[rows.Count * kv]);
        for (var r = 0; r < rows.Count; r++)
        {
            linears[0].AsSpan(r * all, dim).CopyTo(q.AsSpan(r * dim));
            linears[0].AsSpan(r * all + dim, kv).CopyTo(k.AsSpan(r * kv));
            linears[0].AsSpan(r * all + dim + kv, kv).CopyTo(v.AsSpan(r * kv));
        }

        return pass.Attend(q, k, v, rows.Positions, importance);
    }

    private float[] Add(TokenRows rows, float[] addition, NormWeights norm)
    {
        TensorPrimitives.Add(rows.Stream, addition, rows.Stream);
        return rows.Stream = _model.Shape.NormAfter ? _full.Norm(rows.Stream, norm) : rows.Stream;
    }

    private static float[] Quantize(InputPlan plan, float[] input, int width, bool[]? low)
    {
        var places = Places(plan, input, width);
        for (var r = 0; r < input.Length / width; r++)
            plan.Quantize(places.AsSpan(r * width, width), low is not null && low[r]);
        return places;
    }

    private static float[] Places(InputPlan plan, float[] input, int width)
    {
        var places = new float[input.Length];
        for (var start = 0; start < input.Length; start += width)
            plan.ToPlaces(input.AsSpan(start, width), places.AsSpan(start, width));
        return places;
    }

    private static LinearExplanation Explain(
        int layer, int place, QuantizedLinear linear, InputPlan plan, int outliers, (double Error, double Norm)[] errors)
    {
        var norm = errors.Sum(e => e.Norm);
        var exponents = plan.Exponents ?? [];
        return new LinearExplanation(
            linear.Name, layer, QuantizationPlan.InputNames[place], linear.Format.Bits, plan.Limit == 127 ? 8 : 4, norm > 0 ? errors.Sum(e => e.Error) / norm : 0,
            outliers, exponents.Length > 0 ? exponents.Max() : 0,
            exponents.Count(e => e != 0), plan.Exponents is null ? "none" : plan.Order is null ? "folded" : "shifted",
            linear.Values.LongLength * linear.Format.Bits / 8 + linear.Scales.LongLength * (linear.Format.Bits == 8 ? 4 : 2) + linear.Zeros.LongLength);
    }

    private static int OutlierChannels(IEnumerable<float[]> inputs, int width)
    {
        const float Outlier = 6;
        var largest = new float[width];
        foreach (var input in inputs)
        {
            for (var start = 0; start < input.Length; start += width)
                TensorPrimitives.MaxMagnitude<float>(largest, input.AsSpan(start, width), largest);
        }

        TensorPrimitives.Abs<float>(largest, largest);
        var median = largest.Order().ElementAt(width / 2);
        return largest.Count(v => v > Outlier * median);
    }

    private LayerExplanation Explain(int layer)
    {
        double error = 0, norm = 0, rows = 0, low = 0;
        foreach (var w in Training)
        {
            var wanted = TokenRows.Gather(_fullRows[w].Stream, _rows[w].Index, _model.Shape.Dimension);
            error += Math.Pow(TensorPrimitives.Distance<float>(_rows[w].Stream, wanted), 2);
            norm += TensorPrimitives.SumOfSquares<float>(wanted);
            rows += _rows[w].Count;
            low += _rows[w].IsLow.Count(l => l);
        }

        return new LayerExplanation(layer, rows / Training.Sum(w => _windows[w].Length), rows > 0 ? low / rows : 0, norm > 0 ? error / norm : 0);
    }

    private static T[] Each<T>(int count, Func<int, T> of)
    {
        var result = new T[count];
        Parallel.For(0, result.Length, w => result[w] = of(w));
        return result;
    }
}
