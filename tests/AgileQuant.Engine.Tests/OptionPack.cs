using System.Globalization;
using System.Runtime.InteropServices;
using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Tests;

/// <summary>
/// A pack with options of format 2 put in by hand, whether or not they serve the model: what they do to the arithmetic is
/// checked, so any factors, orders and thresholds will do.
/// </summary>
internal sealed class OptionPack
{
    private static readonly string[] Inputs = ["attn_in", "attn_out", "ffn_in", "ffn_mid"];
    private readonly GgufFile _plain;
    private readonly GgufMetadata _keys = new();
    private readonly List<(GgufTensor Tensor, byte[] Data)> _added = [];
    private readonly Random _random = new(23);
    private readonly int _layers;

    private OptionPack(GgufFile plain)
    {
        _plain = plain;
        foreach (var (key, value) in plain.Metadata)
            _keys.Add(key, value);
        _keys.Add("agilequant.format", 2u);
        _layers = plain.Tensors.Count(t => t.Name.EndsWith(".ffn_down.weight", StringComparison.Ordinal));
    }

    /// <param name="plain">Pack without options.</param>
    /// <param name="path">Where to write.</param>
    /// <param name="options">As in precision names; <c>trip-shifted</c> is <c>trip</c> with an order.</param>
    public static void Write(string plain, string path, string options)
    {
        using var file = GgufFile.Open(plain);
        var pack = new OptionPack(file);
        foreach (var option in options.Split('+'))
            pack.Add(option);
        pack._keys.Add("agilequant.precision", $"{file.Metadata.Text("agilequant.precision")}+{options.Replace("trip-shifted", "trip", StringComparison.Ordinal)}");
        pack.Save(path);
    }

    private void Add(string option)
    {
        switch (option)
        {
            case "trip":
                EachInput((name, width) => AddTensor($"{name}.trip", TensorType.I8, Exponents(width)));
                break;
            case "trip-shifted":
                EachInput((name, width) =>
                {
                    AddTensor($"{name}.trip", TensorType.I8, Exponents(width));
                    var order = Enumerable.Range(0, width).Select(i => (float)i).ToArray();
                    _random.Shuffle(order);
                    AddTensor($"{name}.order", TensorType.F32, order);
                });
                break;
            case "trip-static":
                EachInput((name, width) =>
                {
                    AddTensor($"{name}.trip", TensorType.I8, Exponents(width));
                    AddTensor($"{name}.static", TensorType.F32, [0.02f + _random.NextSingle() / 16, _random.Next(-9, 10)]);
                });
                AddBiases();
                break;
            case "mixed":
                _keys.Add("agilequant.activation_limits", Enumerable.Range(0, 4 * _layers).Select(i => i % 3 == 0 ? 127u : 7u).ToArray());
                break;
            case "kv8":
                _keys.Add("agilequant.kv_bits", 8u);
                break;
            default:
                AddSelection(option);
                break;
        }
    }

    private void AddSelection(string option)
    {
        var ratio = float.Parse(option.AsSpan(option.IndexOfAny([.. "0123456789"])), CultureInfo.InvariantCulture);
        // Importance is a sum over heads of probabilities on the first token, spread widely: some tokens fall on either side.
        float[] thresholds = [.. Enumerable.Range(0, _layers).Select(i => i == 0 ? 0 : 0.02f * i)];
        if (!_keys.Contains("agilequant.start_token")) // what the text of docs-llama begins with; the others' begin otherwise
            _keys.Add("agilequant.start_token", 1u);
        if (option.StartsWith("low", StringComparison.Ordinal))
        {
            _keys.Add("agilequant.low.ratio", ratio);
            _keys.Add("agilequant.low.thresholds", thresholds);
            _keys.Add("agilequant.low.thresholds_other", Array.ConvertAll(thresholds, t => 0.8f * t));
        }
        else
        {
            var isPaper = option.StartsWith("prune-paper", StringComparison.Ordinal);
            _keys.Add("agilequant.prune.mode", isPaper ? "paper" : "threshold");
            _keys.Add("agilequant.prune.ratio", ratio);
            if (isPaper)
                _keys.Add("agilequant.prune.keep", Enumerable.Range(0, _layers).Select(i => i == 0 ? 1 : 1 - ratio / 2).ToArray());
            else
            {
                _keys.Add("agilequant.prune.thresholds", thresholds);
                _keys.Add("agilequant.prune.thresholds_other", Array.ConvertAll(thresholds, t => 0.8f * t));
            }
        }
    }

    private void EachInput(Action<string, int> add)
    {
        for (var layer = 0; layer < _layers; layer++)
        {
            foreach (var input in Inputs)
            {
                var norm = string.Create(CultureInfo.InvariantCulture, $"blk.{layer}.attn_norm.weight");
                var up = string.Create(CultureInfo.InvariantCulture, $"blk.{layer}.ffn_up.scale");
                var width = input == "ffn_mid" ? _plain.Tensor(up).Dimensions[^1] : _plain.Tensor(norm).RowLength;
                add(string.Create(CultureInfo.InvariantCulture, $"blk.{layer}.{input}"), (int)width);
            }
        }
    }

    /// <summary>What a zero point adds to the products stands in biases, also where the architecture has none.</summary>
    private void AddBiases()
    {
        foreach (var scale in _plain.Tensors.Where(t => t.Name.StartsWith("blk.", StringComparison.Ordinal) && t.Name.EndsWith(".scale", StringComparison.Ordinal)))
        {
            var name = scale.Name[..^".scale".Length] + ".bias";
            if (!_plain.Contains(name))
                AddTensor(name, TensorType.F32, Enumerable.Range(0, (int)scale.Dimensions[^1]).Select(_ => _random.NextSingle() - 0.5f).ToArray());
        }
    }

    private sbyte[] Exponents(int width) => [.. Enumerable.Range(0, width).Select(_ => (sbyte)(_random.Next(5) == 0 ? _random.Next(1, 4) : 0))];

    private void AddTensor<T>(string name, TensorType type, T[] values)
        where T : unmanaged =>
        _added.Add((new GgufTensor(name, type, [values.Length]), MemoryMarshal.AsBytes(values.AsSpan()).ToArray()));

    private void Save(string path)
    {
        using var writer = new GgufWriter(path, _keys, [.. _plain.Tensors, .. _added.Select(a => a.Tensor)]);
        foreach (var tensor in _plain.Tensors)
            writer.Write(_plain.ReadBytes(tensor));
        foreach (var (_, data) in _added)
            writer.Write(data);
        writer.Complete();
    }
}
