using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace AgileQuant.Engine.Gguf;

/// <summary>Reads the header of a GGUF file. Every length is checked against what is left of the file before memory is taken.</summary>
internal sealed class GgufHeaderReader(Stream stream, string path)
{
    private const int MaxDimensions = 4;
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);
    private readonly byte[] _scratch = new byte[8];

    private long Left => stream.Length - stream.Position;

    public (GgufMetadata Metadata, List<GgufTensor> Tensors) Read()
    {
        if (Left < 24)
            throw Bad("not a GGUF file: it is shorter than a header");
        if (!Bytes(4).SequenceEqual("GGUF"u8))
            throw Bad("not a GGUF file: it does not start with GGUF");
        var version = UInt32();
        if (version is not (2 or 3))
            throw Bad($"GGUF version {version} is not supported; versions 2 and 3 are (little-endian)");
        var tensorCount = UInt64();
        var keyCount = UInt64();
        // A key takes at least 13 bytes, a tensor at least 32: larger counts cannot be true.
        if (keyCount > (ulong)Left / 13 || tensorCount > (ulong)Left / 32)
            throw Bad($"corrupt or truncated: it announces {keyCount} keys and {tensorCount} tensors in {stream.Length} bytes");

        var metadata = new GgufMetadata();
        for (ulong i = 0; i < keyCount; i++)
        {
            var key = Text("a metadata key");
            if (metadata.Contains(key))
                throw Bad($"corrupt: metadata key {key} stands twice");
            metadata.Add(key, Value((GgufValueType)UInt32(), key));
        }

        var tensors = new List<GgufTensor>();
        for (ulong i = 0; i < tensorCount; i++)
            tensors.Add(Tensor());
        return (metadata, Place(tensors, metadata));
    }

    private GgufTensor Tensor()
    {
        var name = Text("a tensor name");
        var rank = UInt32();
        if (rank is < 1 or > MaxDimensions)
            throw Bad($"corrupt: tensor {name} has {rank} dimensions");
        var dimensions = new long[rank];
        UInt128 elements = 1; // at most 2^48 before each multiplication, so that it cannot overflow
        for (var d = 0; d < rank; d++)
        {
            var size = UInt64();
            elements *= size;
            if (size == 0 || elements > 1UL << 48)
                throw Bad($"corrupt: tensor {name} has a dimension of {size}");
            dimensions[d] = (long)size;
        }

        var type = UInt32();
        if (!Enum.IsDefined((TensorType)type))
        {
            throw Bad($"tensor {name} has type {TensorTypes.NameOf(type)}, which is not supported; "
                + "F32, F16, BF16, Q8_0 and Q4_0 are. Convert the model from its original weights.");
        }

        if (dimensions[0] % ((TensorType)type).Block().Elements != 0)
            throw Bad($"corrupt: tensor {name} has rows of {dimensions[0]} elements, not a whole number of blocks");
        var offset = UInt64();
        if (offset > (ulong)stream.Length)
            throw Bad($"truncated: tensor {name} lies at {offset} beyond the end of the file");
        return new GgufTensor(name, (TensorType)type, dimensions) { Offset = (long)offset };
    }

    /// <summary>Turns offsets into the data section into offsets into the file, and checks that all data is there.</summary>
    private List<GgufTensor> Place(List<GgufTensor> tensors, GgufMetadata metadata)
    {
        var alignment = metadata.Integer("general.alignment") ?? 32;
        if (alignment < 8 || alignment % 8 != 0 || alignment > 65536)
            throw Bad($"corrupt: alignment {alignment}");
        var start = (stream.Position + alignment - 1) / alignment * alignment;
        var names = new HashSet<string>();
        return tensors.ConvertAll(tensor =>
        {
            if (!names.Add(tensor.Name))
                throw Bad($"corrupt: tensor {tensor.Name} stands twice");
            if (tensor.Offset % alignment != 0)
                throw Bad($"corrupt: tensor {tensor.Name} is not aligned to {alignment} bytes");
            if (start + tensor.Offset + tensor.Bytes > stream.Length)
            {
                throw Bad($"truncated: tensor {tensor.Name} ends at {start + tensor.Offset + tensor.Bytes}, "
                    + $"the file has {stream.Length} bytes");
            }

            return tensor with { Offset = start + tensor.Offset };
        });
    }

    private object Value(GgufValueType type, string key) => type switch
    {
        GgufValueType.Array => Array(key),
        GgufValueType.String => Text(key),
        GgufValueType.Bool => Bytes(1)[0] != 0,
        GgufValueType.UInt8 => Bytes(1)[0],
        GgufValueType.Int8 => (sbyte)Bytes(1)[0],
        GgufValueType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2)),
        GgufValueType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(Bytes(2)),
        GgufValueType.UInt32 => UInt32(),
        GgufValueType.Int32 => (int)UInt32(),
        GgufValueType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(Bytes(4)),
        GgufValueType.UInt64 => UInt64(),
        GgufValueType.Int64 => (long)UInt64(),
        GgufValueType.Float64 => BinaryPrimitives.ReadDoubleLittleEndian(Bytes(8)),
        _ => throw Bad($"corrupt: metadata key {key} has unknown type {(int)type}"),
    };

    private object Array(string key)
    {
        var type = (GgufValueType)UInt32();
        var count = UInt64();
        switch (type)
        {
            case GgufValueType.String:
                Fits(count, 8, key);
                var texts = new string[count];
                for (var i = 0; i < texts.Length; i++)
                    texts[i] = Text(key);
                return texts;
            case GgufValueType.Bool:
                return System.Array.ConvertAll(Numbers<byte>(count, key), b => b != 0);
            case GgufValueType.UInt8:
                return Numbers<byte>(count, key);
            case GgufValueType.Int8:
                return Numbers<sbyte>(count, key);
            case GgufValueType.UInt16:
                return Numbers<ushort>(count, key);
            case GgufValueType.Int16:
                return Numbers<short>(count, key);
            case GgufValueType.UInt32:
                return Numbers<uint>(count, key);
            case GgufValueType.Int32:
                return Numbers<int>(count, key);
            case GgufValueType.Float32:
                return Numbers<float>(count, key);
            case GgufValueType.UInt64:
                return Numbers<ulong>(count, key);
            case GgufValueType.Int64:
                return Numbers<long>(count, key);
            case GgufValueType.Float64:
                return Numbers<double>(count, key);
            default:
                throw Bad($"metadata key {key} is an array of an unsupported type ({(int)type})");
        }
    }

    /// <summary>Numbers as they lie in the file; both are little-endian.</summary>
    private T[] Numbers<T>(ulong count, string key)
        where T : unmanaged
    {
        Fits(count, Marshal.SizeOf<T>(), key);
        var values = new T[count];
        stream.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private string Text(string what)
    {
        var length = UInt64();
        Fits(length, 1, what);
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        try
        {
            return StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            // Vocabularies may hold pieces that are not whole UTF-8 sequences; they are kept readable, not exact.
            return Encoding.UTF8.GetString(bytes);
        }
    }

    private void Fits(ulong count, int each, string what)
    {
        if (count > (ulong)Left / (ulong)each || count > int.MaxValue / 8)
            throw Bad($"corrupt or truncated: {what} announces {count} elements, {Left} bytes are left");
    }

    private uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4));

    private ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8));

    private Span<byte> Bytes(int count)
    {
        if (Left < count)
            throw Bad("truncated: it ends in the middle of the header");
        stream.ReadExactly(_scratch, 0, count);
        return _scratch.AsSpan(0, count);
    }

    private ModelFormatException Bad(string problem) => new($"{path}: {problem}");
}
