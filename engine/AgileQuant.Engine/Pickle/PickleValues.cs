using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Pickle;

/// <summary>A name that a pickle may mention; nothing else can be named.</summary>
internal enum PickleGlobal
{
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    FloatStorage,
    HalfStorage,
    BFloat16Storage,
}

/// <summary>Where the elements of one or several tensors lie: entry <c>data/KEY</c> of the archive.</summary>
/// <param name="Type">Of the elements.</param>
/// <param name="Key">Last part of the entry's name.</param>
/// <param name="Elements">As many as the pickle announces.</param>
internal sealed record PickleStorage(TensorType Type, string Key, long Elements);

/// <summary>A tensor of a state dict, row-major without gaps. The shape is in PyTorch's order, slowest first.</summary>
/// <param name="Storage">Tied weights share one.</param>
/// <param name="FirstElement">Offset into the storage.</param>
/// <param name="Shape">At least one dimension.</param>
internal sealed record PickleTensor(PickleStorage Storage, long FirstElement, IReadOnlyList<long> Shape)
{
    public long Elements => Shape.Aggregate(1L, (a, b) => a * b); // checked when the tensor was built
}

/// <summary>A dict or an OrderedDict.</summary>
internal sealed class PickleDictionary
{
    public Dictionary<string, object?> Items { get; } = new(StringComparer.Ordinal);

    /// <summary>An OrderedDict, which alone may be given a state (PyTorch's <c>_metadata</c>, which we leave out).</summary>
    public required bool IsOrdered { get; init; }
}
