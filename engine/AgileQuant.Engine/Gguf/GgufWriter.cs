using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace AgileQuant.Engine.Gguf;

/// <summary>
/// Writes a GGUF v3 file front to back: header, then the data of each tensor in the order given, aligned to 32 with zero
/// padding. The file gets its name only when it is complete; its SHA-256 is taken while it is written.
/// </summary>
public sealed class GgufWriter : IDisposable
{
    private const int Alignment = 32;
    private readonly string _destination;
    private readonly string _temporary;
    private readonly FileStream _stream;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly IReadOnlyList<GgufTensor> _tensors;
    private int _current;
    private long _writtenOfCurrent;
    private bool _completed;

    public GgufWriter(string destination, GgufMetadata metadata, IReadOnlyList<GgufTensor> tensors)
    {
        _destination = destination;
        _temporary = $"{destination}.{Guid.NewGuid():N}.tmp";
        _tensors = tensors;
        if (System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(destination)) is { } folder)
            Directory.CreateDirectory(folder);
        _stream = new FileStream(_temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
        Put(Header(metadata, tensors));
        Pad();
    }

    /// <summary>Bytes of the file that these would become.</summary>
    public static long SizeOf(GgufMetadata metadata, IReadOnlyList<GgufTensor> tensors) =>
        tensors.Aggregate(Aligned(Header(metadata, tensors).Length), (size, tensor) => Aligned(size + tensor.Bytes));

    /// <summary>The next bytes of the current tensor; a full tensor makes the next one current.</summary>
    /// <exception cref="InvalidOperationException">More bytes than the tensor has.</exception>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (_current >= _tensors.Count || _writtenOfCurrent + bytes.Length > _tensors[_current].Bytes)
            throw new InvalidOperationException("more data than the tensors announced");
        Put(bytes);
        _writtenOfCurrent += bytes.Length;
        if (_writtenOfCurrent < _tensors[_current].Bytes)
            return;
        Pad();
        _current++;
        _writtenOfCurrent = 0;
    }

    /// <summary>Values of a tensor stored as they lie in memory (little-endian hosts only, as all that .NET supports here).</summary>
    public void WriteValues<T>(ReadOnlySpan<T> values)
        where T : unmanaged => Write(MemoryMarshal.AsBytes(values));

    /// <summary>Flushes to disk and renames.</summary>
    /// <returns>SHA-256 in lower-case hexadecimal, and the size in bytes.</returns>
    public (string Sha256, long Bytes) Complete()
    {
        if (_current != _tensors.Count)
            throw new InvalidOperationException($"tensor {_tensors[_current].Name} is not complete");
        var size = _stream.Position;
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
        File.Move(_temporary, _destination, overwrite: true);
        _completed = true;
        return (Convert.ToHexStringLower(_hash.GetHashAndReset()), size);
    }

    /// <summary>Removes the temporary file when the work was not completed.</summary>
    public void Dispose()
    {
        _stream.Dispose();
        _hash.Dispose();
        if (!_completed)
            File.Delete(_temporary);
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        _stream.Write(bytes);
        _hash.AppendData(bytes);
    }

    private void Pad()
    {
        var missing = (int)(Aligned(_stream.Position) - _stream.Position);
        if (missing > 0)
            Put(stackalloc byte[missing]);
    }

    private static long Aligned(long position) => (position + Alignment - 1) / Alignment * Alignment;

    private static byte[] Header(GgufMetadata metadata, IReadOnlyList<GgufTensor> tensors)
    {
        using var memory = new MemoryStream();
        using var writer = new BinaryWriter(memory);
        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write((ulong)tensors.Count);
        writer.Write((ulong)metadata.Count);
        foreach (var (key, value) in metadata)
        {
            Text(writer, key);
            var type = TypeOf(value);
            writer.Write((uint)type);
            Value(writer, type, value);
        }

        long offset = 0;
        foreach (var tensor in tensors)
        {
            Text(writer, tensor.Name);
            writer.Write((uint)tensor.Dimensions.Count);
            foreach (var size in tensor.Dimensions)
                writer.Write((ulong)size);
            writer.Write((uint)tensor.Type);
            writer.Write((ulong)offset);
            offset = Aligned(offset + tensor.Bytes);
        }

        return memory.ToArray();
    }

    private static GgufValueType TypeOf(object value) => value switch
    {
        byte => GgufValueType.UInt8,
        sbyte => GgufValueType.Int8,
        ushort => GgufValueType.UInt16,
        short => GgufValueType.Int16,
        uint => GgufValueType.UInt32,
        int => GgufValueType.Int32,
        float => GgufValueType.Float32,
        bool => GgufValueType.Bool,
        string => GgufValueType.String,
        ulong => GgufValueType.UInt64,
        long => GgufValueType.Int64,
        double => GgufValueType.Float64,
        Array => GgufValueType.Array,
        _ => throw new ArgumentException($"GGUF has no type for {value.GetType()}", nameof(value)),
    };

    private static void Value(BinaryWriter writer, GgufValueType type, object value)
    {
        switch (type)
        {
            case GgufValueType.Array:
                Elements(writer, (Array)value);
                break;
            case GgufValueType.String:
                Text(writer, (string)value);
                break;
            default:
                writer.Write(Scalar(value));
                break;
        }
    }

    private static void Elements(BinaryWriter writer, Array values)
    {
        var type = values.GetType().GetElementType()!;
        writer.Write((uint)TypeOf(type == typeof(string) ? "" : Activator.CreateInstance(type)!));
        writer.Write((ulong)values.Length);
        foreach (var value in values)
        {
            if (value is string text)
                Text(writer, text);
            else
                writer.Write(Scalar(value!));
        }
    }

    private static byte[] Scalar(object value) => value switch
    {
        byte v => [v],
        sbyte v => [(byte)v],
        bool v => [v ? (byte)1 : (byte)0],
        ushort v => BitConverter.GetBytes(v),
        short v => BitConverter.GetBytes(v),
        uint v => BitConverter.GetBytes(v),
        int v => BitConverter.GetBytes(v),
        float v => BitConverter.GetBytes(v),
        ulong v => BitConverter.GetBytes(v),
        long v => BitConverter.GetBytes(v),
        double v => BitConverter.GetBytes(v),
        _ => throw new ArgumentException($"not a GGUF number: {value.GetType()}", nameof(value)),
    };

    private static void Text(BinaryWriter writer, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)bytes.Length);
        writer.Write(length);
        writer.Write(bytes);
    }
}
