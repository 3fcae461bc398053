using System.Diagnostics.CodeAnalysis;

namespace AgileQuant.Engine.Gguf;

/// <summary>
/// Metadata of a GGUF file in file order. Values are the .NET primitive of their GGUF type, <see cref="string"/>, or a
/// one-dimensional array of those.
/// </summary>
[SuppressMessage("Naming", "CA1710", Justification = "It is the file's metadata; that it is enumerable is secondary.")]
public sealed class GgufMetadata : IEnumerable<KeyValuePair<string, object>>
{
    private readonly Dictionary<string, object> _values = [];
    private readonly List<string> _order = [];

    public int Count => _order.Count;

    /// <summary>Sets a value; a new key goes to the end.</summary>
    public void Add(string key, object value)
    {
        if (_values.TryAdd(key, value))
            _order.Add(key);
        else
            _values[key] = value;
    }

    /// <returns>false when there was no such key.</returns>
    public bool Remove(string key) => _values.Remove(key) && _order.Remove(key);

    public bool Contains(string key) => _values.ContainsKey(key);

    public bool TryGet<T>(string key, [NotNullWhen(true)] out T? value)
    {
        if (_values.TryGetValue(key, out var found) && found is T typed)
        {
            value = typed;
            return true;
        }

        value = default;
        return false;
    }

    public string? Text(string key) => TryGet<string>(key, out var value) ? value : null;

    public bool? Flag(string key) => TryGet<bool>(key, out var value) ? value : null;

    /// <summary>An integer of any GGUF width that fits an int.</summary>
    public int? Integer(string key)
    {
        if (!_values.TryGetValue(key, out var value))
            return null;
        return value switch
        {
            byte v => v,
            sbyte v => v,
            ushort v => v,
            short v => v,
            uint v when v <= int.MaxValue => (int)v,
            int v => v,
            ulong v when v <= int.MaxValue => (int)v,
            long v when v is >= int.MinValue and <= int.MaxValue => (int)v,
            _ => throw new ModelFormatException($"metadata key {key} is not an integer in range: {value}"),
        };
    }

    /// <summary>A floating-point number of either width.</summary>
    public double? Real(string key) => _values.TryGetValue(key, out var value)
        ? value switch
        {
            float v => v,
            double v => v,
            _ => throw new ModelFormatException($"metadata key {key} is not a floating-point number: {value}"),
        }
        : null;

    public IEnumerator<KeyValuePair<string, object>> GetEnumerator()
    {
        foreach (var key in _order)
            yield return new KeyValuePair<string, object>(key, _values[key]);
    }

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
}
