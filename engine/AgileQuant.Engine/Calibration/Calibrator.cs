using System.Numerics.Tensors;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Calibration;

/// <summary>
/// Goes through a model layer by layer, and in a layer input by input, with the calibration windows in two forward passes side by
/// side: one in fp32, and one that computes as the packed model will. Each linear is quantized when its turn comes, so that later
/// ones see (and GPTQ makes good for) the errors of the earlier ones ("true sequential").
/// Memory: two residual streams and two inputs of one place for all windows (rows * (2 dimension + 2 widest input) * 4 bytes), the
/// fp32 weights of one place, and its statistics in fp64 (2 * inputs^2 * 8 bytes, as much again while GPTQ factors them).
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
    private readonly QuantizationPlan _plan;
    private TokenRows[] _fullRows = [];
    private TokenRows[] _rows = [];

    /// <param name="model">The canonical model.</param>
    /// <param name="recipe">The recipe.</param>
    /// <param name="windows">Calibration windows.</param>
    /// <param name="options">What is tried in experiments and probes.</param>
    /// <param name="store">Takes each linear when it is quantized.</param>
    public Calibrator(ModelWeights model, PackRecipe recipe, int[][] windows, CalibratorOptions options, Action<QuantizedLinear> store)
    {
        (_model, _precision, _windows, _options, _store) = (model, recipe.Precision, windows, options, store);
        var shape = model.Shape;
        _format = new WeightFormat(recipe.Precision.WeightBits, recipe.GroupSize, recipe.Precision.Options.Asymmetric);
        _full = new ForwardPass(shape, model.RopeFactors, ProbabilityFormat.Full, 32);
        _quantized = new ForwardPass(
            shape, model.RopeFactors, recipe.Precision.Probabilities, recipe.Precision.Options.Int8KeyValues ? 8 : 16);
        _plan = new QuantizationPlan(shape.Layers) { Kept = options.Kept };
        var choices = recipe.Precision.Options;
        _plan.LowThresholds = choices.LowRatio > 0 ? new float[shape.Layers] : null;
        _plan.PruneThresholds = choices.Prune == PruneMode.Threshold ? new float[shape.Layers] : null;
    }

    /// <summary>Windows whose tokens count: those behind are only carried along, for validation.</summary>
    private IEnumerable<int> Training => Enumerable.Range(0, _windows.Length - _options.ValidationWindows);

    /// <param name="progress">Share of the layers that is done.</param>
    /// <param name="cancellation">Stops between the inputs of a layer.</param>
    public QuantizationPlan Run(IProgress<double>? progress, CancellationToken cancellation)
    {
        _rows = Start();
        _fullRows = _options.QuantizedOnly ? [] : [.. _rows.Select(r => new TokenRows(r.Ids, [.. r.Stream]))];
        for (var layer = 0; layer < _model.Shape.Layers; layer++)
        {
            RunLayer(layer, cancellation);
            if (!_options.QuantizedOnly)
                _plan.Layers.Add(Explain(layer));
            progress?.Report((layer + 1.0) / _model.Shape.Layers);
        }

        return _plan;
    }

    /// <summary>NLLs after <see cref="Run"/>, by window: all targets of the quantized pass, and of the one in fp32.</summary>
    public (float[][] Quantized, float[][] Full) Score(IEnumerable<int> windows)
    {
        var head = new OutputHead(_model, _full);
        var chosen = windows.ToArray();
        return ([.. chosen.Select(w => head.Score(_rows[w], quantized: true))], _options.QuantizedOnly ? [] : [.. chosen.Select(w => head.Score(_fullRows[w], quantized: false))]);
    }

    private TokenRows[] Start()
    {
        var streams = _model.Embed(_windows);
        if (_model.Shape.HasEmbeddingNorm)
        {
            var norm = _model.Norm("token_embd_norm");
            streams = Array.ConvertAll(streams, s => _full.Norm(s, norm));
        }

        return [.. _windows.Zip(streams, (ids, stream) => new TokenRows(ids, stream))];
    }

    private void RunLayer(int layer, CancellationToken cancellation)
    {
        var shape = _model.Shape;
        var prefix = ModelWeights.Prefix(layer);
        var (attentionNorm, feedForwardNorm) = (_model.Norm(prefix + "attn_norm"), _model.Norm(prefix + "ffn_norm"));

        var outputs = Apply(layer, 0, Normed(_rows, attentionNorm), Normed(_fullRows, attentionNorm), cancellation);
        var importance = Array.ConvertAll(_rows, r => new float[r.Count]);
        var attended = Each(w => Attention(_quantized, outputs.Quantized[w], _rows[w], importance[w]));
        var attendedFull = EachFull(w => Attention(_full, outputs.Full[w], _fullRows[w], new float[_fullRows[w].Count]));
        ChooseLow(layer, importance);

        outputs = Apply(layer, 1, attended, attendedFull, cancellation);
        AddToStreams(outputs, attentionNorm);
        Prune(layer, importance);

        outputs = Apply(layer, 2, Normed(_rows, feedForwardNorm), Normed(_fullRows, feedForwardNorm), cancellation);
        var middle = Each(w => Middle(outputs.Quantized[w]));
        var middleFull = EachFull(w => Middle(outputs.Full[w]));
        outputs = Apply(layer, 3, middle, middleFull, cancellation);
        AddToStreams(outputs, feedForwardNorm);

        float[][] Normed(TokenRows[] rows, NormWeights norm) =>
            Each(rows.Length, w => shape.NormAfter ? [.. rows[w].Stream] : _full.Norm(rows[w].Stream, norm));
        float[] Middle(float[][] linears) => _full.Activate(linears.Length == 2 ? linears[0] : null, linears[^1]);
    }

    /// <summary>Chooses how the input of a place is quantized, quantizes its linears, and applies them.</summary>
    /// <returns>Outputs, <c>[window][linear][rows * outputs]</c>.</returns>
    private (float[][][] Quantized, float[][][] Full) Apply(
        int layer, int place, float[][] inputs, float[][] fullInputs, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var linears = _model.Linears(layer)[place].Select(_model.Linear).ToArray();
        var width = linears[0].Inputs;
        var plan = _plan.Inputs[layer][place] = Choose(layer, place, inputs, linears);
        var seen = Each(w => Quantize(plan, inputs[w], width, place == 0 ? null : _rows[w].IsLow));
        Gptq? gptq = null;
        InputStatistics? statistics = null;
        if (_precision.Options.Gptq && !_options.WithoutGptq)
        {
            statistics = new InputStatistics(width);
            foreach (var w in Training)
                statistics.Add(seen[w], Places(plan, TokenRows.Gather(fullInputs[w], _rows[w].Index, width), width));
            gptq = new Gptq(statistics.Hessian, width, _options.Damping);
        }

        var (quantized, full) = (Each(_ => new float[linears.Length][]), Each(_ => new float[linears.Length][]));
        for (var l = 0; l < linears.Length; l++)
        {
            var dense = linears[l];
            var weights = plan.WeightsToPlaces(dense.Weights, width);
            var linear = new QuantizedLinear(dense.Name, width, dense.Outputs, FormatOf(layer, place)) { Bias = dense.Bias };
            if (gptq is null)
                PlainRounding.Quantize(linear, weights);
            else
                gptq.Quantize(linear, _options.Drift > 0 ? gptq.Corrected(weights, statistics!.Drift, _options.Drift) : weights, cancellation);
            var rounded = dense with { Weights = linear.Dequantize() };
            Each(w => quantized[w][l] = rounded.Apply(seen[w]));
            EachFull(w => full[w][l] = dense.Apply(fullInputs[w]));
            if (!_options.QuantizedOnly)
                _plan.Linears.Add(Explain(layer, place, linear, plan, inputs, quantized, full, l));
            StaticZero.AddToBias(linear, plan, rounded.Weights);
            _store(linear);
        }

        return (quantized, full);
    }

    private InputPlan Choose(int layer, int place, float[][] inputs, DenseLinear[] linears)
    {
        var limit = _precision.ActivationBits == 8 || _plan.Kept?.Contains((layer, place)) == true ? 127 : 7;
        if (_options.Inputs is { } given)
            return given[layer][place] with { Limit = limit };
        if (_precision.Options.Trip == TripMode.None)
            return new InputPlan { Limit = limit };
        var chooser = new TripChooser([.. Training.Select(w => inputs[w])], linears, FormatOf(layer, place), limit);
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

    private void AddToStreams((float[][][] Quantized, float[][][] Full) outputs, NormWeights norm)
    {
        Each(w => Add(_rows[w], outputs.Quantized[w][0]));
        EachFull(w => Add(_fullRows[w], outputs.Full[w][0]));

        float[] Add(TokenRows rows, float[] addition)
        {
            TensorPrimitives.Add(rows.Stream, addition, rows.Stream);
            return rows.Stream = _model.Shape.NormAfter ? _full.Norm(rows.Stream, norm) : rows.Stream;
        }
    }

    private void ChooseLow(int layer, float[][] importance)
    {
        if (_plan.LowThresholds is not { } thresholds)
            return;
        // The wanted share is low from the first layer on, so that every layer has it; tokens stay low.
        if (layer == 0)
            thresholds[0] = TokenThresholds.ForShare(Candidates(importance), (double)_precision.Options.LowRatio);
        for (var w = 0; w < _rows.Length; w++)
        {
            for (var r = 0; r < _rows[w].Count; r++)
                _rows[w].IsLow[r] |= !IsProtected(_rows[w], r) && importance[w][r] < thresholds[layer];
        }
    }

    private void Prune(int layer, float[][] importance)
    {
        var options = _precision.Options;
        var layers = _model.Shape.Layers;
        var keep = PruningPlan.KeepShares(layers, (double)options.PruneRatio)[layer];
        if (options.Prune == PruneMode.None || keep >= 1)
            return;
        if (_plan.PruneThresholds is { } thresholds)
        {
            // Of all tokens, so much may be left after this layer; earlier layers may have missed their share.
            var wanted = Math.Pow(keep, layer - PruningPlan.FirstLayer(layers) + 1);
            var there = Training.Sum(w => _rows[w].Count) / (double)Training.Sum(w => _windows[w].Length);
            thresholds[layer] = TokenThresholds.ForShare(Candidates(importance), 1 - wanted / there);
        }

        for (var w = 0; w < _rows.Length; w++)
        {
            var rows = _rows[w];
            var isProtected = Enumerable.Range(0, rows.Count).Select(r => IsProtected(rows, r)).ToArray();
            var stays = _plan.PruneThresholds is { } limits
                ? [.. importance[w].Select((value, r) => isProtected[r] || value >= limits[layer])]
                : TokenThresholds.Paper(importance[w], isProtected, keep);
            rows.Keep(stays, compact: options.Prune == PruneMode.Paper);
        }
    }

    private List<float> Candidates(float[][] importance) =>
        [.. Training.SelectMany(w => importance[w].Where((_, r) => !IsProtected(_rows[w], r)))];

    /// <summary>The start token and the last of a window.</summary>
    private static bool IsProtected(TokenRows rows, int row) => rows.Index[row] == 0 || rows.Index[row] == rows.Ids.Length - 1;

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

    private LinearExplanation Explain(
        int layer, int place, QuantizedLinear linear, InputPlan plan, float[][] inputs, float[][][] quantized, float[][][] full, int index)
    {
        double error = 0, norm = 0;
        foreach (var w in Training)
        {
            var wanted = TokenRows.Gather(full[w][index], _rows[w].Index, linear.Outputs);
            error += Math.Pow(TensorPrimitives.Distance<float>(quantized[w][index], wanted), 2);
            norm += TensorPrimitives.SumOfSquares<float>(wanted);
        }

        var exponents = plan.Exponents ?? [];
        return new LinearExplanation(
            linear.Name, layer, QuantizationPlan.InputNames[place], linear.Format.Bits, plan.Limit == 127 ? 8 : 4, norm > 0 ? error / norm : 0,
            OutlierChannels(Training.Select(w => inputs[w]), linear.Inputs), exponents.Length > 0 ? exponents.Max() : 0,
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

    private T[] Each<T>(Func<int, T> of) => Each(_windows.Length, of);

    /// <summary>For the pass in fp32, if there is one.</summary>
    private T[] EachFull<T>(Func<int, T> of) => Each(_fullRows.Length, of);

    private static T[] Each<T>(int count, Func<int, T> of)
    {
        var result = new T[count];
        Parallel.For(0, result.Length, w => result[w] = of(w));
        return result;
    }
}

/// <summary>What is tried in experiments and probes; the defaults are the product's.</summary>
internal sealed record CalibratorOptions
{
    /// <summary>The last so many windows are carried along and not learned from.</summary>
    public int ValidationWindows { get; init; }

    public double Damping { get; init; } = 0.01;

    /// <summary>Share of the drift of inputs that GPTQ makes good for.</summary>
    public float Drift { get; init; } = 1;

    /// <summary>Round to nearest whatever the recipe says: for probes.</summary>
    public bool WithoutGptq { get; init; }

    /// <summary>No pass in fp32, and so no errors, no drift and no fp32 score: for probes.</summary>
    public bool QuantizedOnly { get; init; }

    /// <summary>How inputs are quantized, chosen before; null: chosen here.</summary>
    public InputPlan[][]? Inputs { get; init; }

    /// <summary>Inputs that keep 8 bits, as layer and place.</summary>
    public IReadOnlyList<(int Layer, int Place)>? Kept { get; init; }

    /// <summary>The linears of those inputs keep int8 weights too.</summary>
    public bool KeptWeights8 { get; init; }
}
