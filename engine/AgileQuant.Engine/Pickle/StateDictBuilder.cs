using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Pickle;

/// <summary>The few things that the pickle of a state dict may name and call.</summary>
internal static class StateDictBuilder
{
    private const int MaxDimensions = 8;
    private const long MaxElements = 1L << 48;

    /// <exception cref="ModelFormatException">Any other name, which the message gives.</exception>
    public static object Global(string module, string name, Func<string, ModelFormatException> bad) => (module, name) switch
    {
        ("collections", "OrderedDict") => PickleGlobal.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => PickleGlobal.RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => PickleGlobal.RebuildParameter,
        ("torch", "FloatStorage") => PickleGlobal.FloatStorage,
        ("torch", "HalfStorage") => PickleGlobal.HalfStorage,
        ("torch", "BFloat16Storage") => PickleGlobal.BFloat16Storage,
        ("torch", _) when name.EndsWith("Storage", StringComparison.Ordinal) =>
            throw bad($"it has tensors of type {module}.{name}; float32, float16 and bfloat16 are supported"),
        _ => throw bad($"it names {module}.{name}, which a state dict of tensors does not need; nothing of it was run. "
            + "Save the model's state_dict() with torch.save, or as safetensors"),
    };

    /// <param name="id"><c>('storage', type, key, location, elements)</c></param>
    /// <param name="bad">Makes the exception.</param>
    public static object Storage(object? id, Func<string, ModelFormatException> bad)
    {
        if (id is not object?[] { Length: 5 } parts || parts[0] is not "storage" || parts[1] is not PickleGlobal kind
            || parts[2] is not string key || parts[4] is not (>= 0L and <= MaxElements))
        {
            throw bad("it refers to data in a way that PyTorch does not");
        }

        var type = kind switch
        {
            PickleGlobal.FloatStorage => TensorType.F32,
            PickleGlobal.HalfStorage => TensorType.F16,
            PickleGlobal.BFloat16Storage => TensorType.BF16,
            _ => throw bad("it has a storage that is none"),
        };
        return new PickleStorage(type, key, (long)parts[4]!);
    }

    /// <summary>Calls one of the functions of <see cref="Global"/>.</summary>
    public static object Call(object? function, object?[] arguments, Func<string, ModelFormatException> bad) => function switch
    {
        PickleGlobal.OrderedDict when arguments.Length == 0 => new PickleDictionary { IsOrdered = true },
        PickleGlobal.RebuildTensor when arguments.Length is 6 or 7 => Tensor(arguments, bad),
        PickleGlobal.RebuildParameter when arguments.Length is 3 && arguments[0] is PickleTensor tensor => tensor,
        _ => throw bad("it calls something with arguments that a state dict does not have"),
    };

    /// <summary><c>(storage, first element, size, stride, requires grad, hooks[, metadata])</c></summary>
    private static PickleTensor Tensor(object?[] arguments, Func<string, ModelFormatException> bad)
    {
        if (arguments[0] is not PickleStorage storage || arguments[1] is not long first || Integers(arguments[2]) is not { } shape
            || Integers(arguments[3]) is not { } strides)
        {
            throw bad("it has a tensor without storage, shape or strides");
        }

        if (shape.Length is < 1 or > MaxDimensions || strides.Length != shape.Length || first < 0)
            throw bad($"it has a tensor of {shape.Length} dimensions; tensors of 1 to {MaxDimensions} are supported");
        var name = $"a tensor of [{string.Join(", ", shape)}] with strides [{string.Join(", ", strides)}] at {first}";
        long expected = 1;
        for (var d = shape.Length - 1; d >= 0; d--)
        {
            if (shape[d] < 1 || shape[d] > MaxElements / expected)
                throw bad($"{name} has a dimension of {shape[d]}");
            if (shape[d] > 1 && strides[d] != expected)
                throw bad($"{name} is not contiguous; call .contiguous() on it before saving");
            expected *= shape[d];
        }

        return first <= storage.Elements - expected
            ? new PickleTensor(storage, first, shape)
            : throw bad($"{name} goes beyond its storage of {storage.Elements} elements");
    }

    private static long[]? Integers(object? value) =>
        value is object?[] items && items.All(i => i is long) ? Array.ConvertAll(items, i => (long)i!) : null;
}
