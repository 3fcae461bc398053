namespace AgileQuant.Engine.Gguf;

/// <summary>Element types of tensors that this version reads or writes, with GGUF's numbers.</summary>
public enum TensorType
{
    F32 = 0,
    F16 = 1,
    Q40 = 2,
    Q80 = 8,
    I8 = 24,
    BF16 = 30,
}

/// <summary>Types of metadata values, with GGUF's numbers.</summary>
public enum GgufValueType
{
    UInt8 = 0,
    Int8 = 1,
    UInt16 = 2,
    Int16 = 3,
    UInt32 = 4,
    Int32 = 5,
    Float32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    UInt64 = 10,
    Int64 = 11,
    Float64 = 12,
}

/// <summary>Sizes of the tensor types.</summary>
public static class TensorTypes
{
    /// <summary>Elements that are stored together, and the bytes they take.</summary>
    public static (int Elements, int Bytes) Block(this TensorType type) => type switch
    {
        TensorType.F32 => (1, 4),
        TensorType.F16 or TensorType.BF16 => (1, 2),
        TensorType.I8 => (1, 1),
        TensorType.Q80 => (32, 34), // fp16 scale, 32 int8
        TensorType.Q40 => (32, 18), // fp16 scale, 32 nibbles
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "unknown tensor type"),
    };

    /// <summary>Bytes of one row of that many elements.</summary>
    public static long RowBytes(this TensorType type, long elements)
    {
        var (perBlock, bytes) = type.Block();
        return checked(elements / perBlock * bytes);
    }

    /// <summary>Name of a GGUF tensor type, for messages; also for those this version does not read.</summary>
    public static string NameOf(uint type) => type switch
    {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        24 => "I8",
        30 => "BF16",
        _ => $"type {type}",
    };
}

/// <summary>
/// A tensor in a GGUF file. Dimensions are in GGUF order, fastest first: a linear with <c>in</c> inputs and <c>out</c>
/// outputs is <c>[in, out]</c>.
/// </summary>
public sealed record GgufTensor(string Name, TensorType Type, IReadOnlyList<long> Dimensions)
{
    /// <summary>Offset of the data from the start of the file; 0 for a tensor that is not written yet.</summary>
    public long Offset { get; init; }

    /// <summary>Elements of a row, the fastest dimension.</summary>
    public long RowLength => Dimensions[0];

    public long Rows => Dimensions.Skip(1).Aggregate(1L, (a, b) => checked(a * b));

    public long Elements => checked(RowLength * Rows);

    public long Bytes => checked(Type.RowBytes(RowLength) * Rows);
}
