using System.Runtime.InteropServices;
using System.Text.Json;
using AgileQuant.Engine.Calibration;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Packing;

/// <summary>What calibration puts into a pack in place of the plain recipe's linears: tensors, keys and the recipe's <c>chosen</c>.</summary>
internal sealed class CalibratedLinears : IDisposable
{
    private readonly ScratchFile _scratch;
    private readonly Dictionary<string, List<GgufTensor>> _stored = new(StringComparer.Ordinal);
    private readonly ModelShape _shape;
    private readonly PackRecipe _recipe;
    private QuantizationPlan _plan;

    private CalibratedLinears(ModelShape shape, PackRecipe recipe, string destination)
    {
        (_shape, _recipe, _scratch, _plan) = (shape, recipe, new ScratchFile(destination), new QuantizationPlan(0));
    }

    /// <summary>What calibration measured.</summary>
    public QuantizationExplanation? Explanation { get; private set; }

    /// <summary>Calibrates, quantizes, and keeps the result beside the destination until it is disposed.</summary>
    /// <exception cref="CalibrationException">The text does not fit the recipe or the model.</exception>
    public static CalibratedLinears Make(
        GgufFile input, ModelShape shape, PackRecipe recipe, TokenData text, string destination, IProgress<double>? progress,
        CancellationToken cancellation)
    {
        var result = new CalibratedLinears(shape, recipe, destination);
        try
        {
            (result._plan, var calibrator) = CalibrationRun.Run(
                new ModelWeights(input, shape), recipe, text, result.Keep, progress, cancellation);
            result.Explanation = CalibrationRun.Explain(recipe, recipe.Calibration!, result._plan, calibrator);
            return result;
        }
        catch
        {
            result.Dispose();
            throw;
        }
    }

    /// <summary>Tensors in the place of a linear's weight, its bias included; null for another tensor.</summary>
    public IReadOnlyList<PackItem>? ItemsFor(ModelTensor tensor)
    {
        if (tensor.Role == TensorRole.Bias)
            return [];
        if (tensor.Role != TensorRole.Linear)
            return null;
        var name = tensor.Name[..^".weight".Length];
        var items = new List<PackItem>();
        for (var layer = 0; layer < _shape.Layers; layer++)
        {
            for (var place = 0; place < QuantizationPlan.InputNames.Length; place++)
            {
                if (_plan.Linears.First(l => l.Layer == layer && l.Input == QuantizationPlan.InputNames[place]).Name == name)
                    items.AddRange(InputTensors(layer, place));
            }
        }

        items.AddRange(_stored[name].Select(t => PackItem.Prepared(t, () => _scratch.Read(t.Name))));
        return items;
    }

    /// <summary>Share of the rows that stay after each layer's attention.</summary>
    public float[] KeepShares => _plan.Tokens.KeepShares;

    /// <summary>The keys of format 2 that calibration gives.</summary>
    public void AddKeys(GgufMetadata keys)
    {
        if (_plan.Kept is not null)
            keys.Add("agilequant.activation_limits", _plan.Inputs.SelectMany(i => i).Select(i => (uint)i.Limit).ToArray());
        if (_plan.LowThresholds is { } low)
        {
            keys.Add("agilequant.low.ratio", (float)_recipe.Precision.Options.LowRatio);
            AddThresholds(keys, "agilequant.low.thresholds", low);
        }

        if (_plan.PruneThresholds is { } prune)
        {
            keys.Add("agilequant.prune.mode", "threshold");
            keys.Add("agilequant.prune.ratio", (float)_recipe.Precision.Options.PruneRatio);
            AddThresholds(keys, "agilequant.prune.thresholds", prune);
        }
    }

    private static void AddThresholds(GgufMetadata keys, string name, StartThresholds thresholds)
    {
        keys.Add(name, thresholds.Start);
        if (thresholds.StartToken is not { } start)
            return;
        keys.Add(name + "_other", thresholds.Other);
        if (!keys.Contains("agilequant.start_token"))
            keys.Add("agilequant.start_token", (uint)start);
    }

    /// <summary>Members of the recipe's <c>chosen</c>, in ordinal order.</summary>
    public void WriteChosen(Utf8JsonWriter json)
    {
        if (_plan.Kept is { } kept)
        {
            json.WriteStartArray("eight_bit_inputs");
            foreach (var (layer, place) in kept)
                json.WriteStringValue(ModelWeights.Prefix(layer) + QuantizationPlan.InputNames[place]);
            json.WriteEndArray();
        }

        if (_plan.Scan is { } scan)
        {
            json.WriteStartObject("eight_bit_scan");
            json.WriteNumber("context", scan.Context);
            json.WriteNumber("layers_together", scan.LayersTogether);
            json.WriteNumber("windows", scan.Windows);
            json.WriteEndObject();
        }

        if (_plan.LowThresholds is not null)
            WriteShares("low_shares", _plan.Tokens.LowShares);
        if (_recipe.Precision.Prunes)
            WriteShares("prune_keep", _plan.Tokens.KeepShares);
        if (_recipe.Precision.Options.Trip == TripMode.None)
            return;
        json.WriteStartObject("trip");
        foreach (var (name, plan) in Inputs().OrderBy(i => i.Name, StringComparer.Ordinal))
            json.WriteString(name, plan.Exponents is null ? "none" : plan.Order is null ? "folded" : "shifted");
        json.WriteEndObject();

        void WriteShares(string name, float[] shares)
        {
            json.WriteStartArray(name);
            foreach (var share in shares)
                json.WriteNumberValue(MathF.Round(share, 6));
            json.WriteEndArray();
        }
    }

    public void Dispose() => _scratch.Dispose();

    private IEnumerable<(string Name, InputPlan Plan)> Inputs() => _plan.Inputs.SelectMany(
        (places, layer) => places.Select((plan, place) => (ModelWeights.Prefix(layer) + QuantizationPlan.InputNames[place], plan)));

    private IEnumerable<PackItem> InputTensors(int layer, int place)
    {
        var (name, plan) = (ModelWeights.Prefix(layer) + QuantizationPlan.InputNames[place], _plan.Inputs[layer][place]);
        if (plan.Exponents is { } exponents)
            yield return PackItem.Prepared(new GgufTensor(name + ".trip", TensorType.I8, [exponents.Length]), () => MemoryMarshal.AsBytes(exponents.AsSpan()).ToArray());
        if (plan.Order is { } order)
            yield return PackItem.Prepared(new GgufTensor(name + ".order", TensorType.F32, [order.Length]), () => Bytes(Array.ConvertAll(order, c => (float)c)));
        if (plan.Static is var (scale, zero))
            yield return PackItem.Prepared(new GgufTensor(name + ".static", TensorType.F32, [2]), () => Bytes([scale, zero]));
    }

    private void Keep(QuantizedLinear linear)
    {
        var (_, groups) = linear.Format.Groups(linear.Inputs);
        var isInt8 = linear.Format.Bits == 8;
        if (!linear.Scales.All(float.IsFinite))
            throw new ModelFormatException($"the scales of {linear.Name} are beyond fp16: its weights are too large for int4");
        List<GgufTensor> tensors = _stored[linear.Name] = [];
        Add(".weight", TensorType.I8, [isInt8 ? linear.Padded : linear.Padded / 2, linear.Outputs], linear.WeightBytes());
        Add(".scale", isInt8 ? TensorType.F32 : TensorType.F16, isInt8 ? [linear.Outputs] : [groups, linear.Outputs], linear.ScaleBytes());
        if (linear.Format.HasZeros)
            Add(".zero", TensorType.I8, [groups, linear.Outputs], linear.ZeroBytes());
        if (linear.Bias is { } bias)
            Add(".bias", TensorType.F32, [linear.Outputs], Bytes(bias));

        void Add(string suffix, TensorType type, long[] dimensions, byte[] bytes)
        {
            tensors.Add(new GgufTensor(linear.Name + suffix, type, dimensions));
            _scratch.Add(linear.Name + suffix, bytes);
        }
    }

    private static byte[] Bytes(float[] values) => MemoryMarshal.AsBytes(values.AsSpan()).ToArray();
}
