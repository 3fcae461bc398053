using System.Buffers.Binary;
using System.Text.Json;
using AgileQuant.Engine.Gguf;
using Microsoft.Win32.SafeHandles;

namespace AgileQuant.Engine.SafeTensors;

/// <summary>A tensor of a safetensors file. The shape is in PyTorch's order, slowest first: a linear is <c>[out, in]</c>.</summary>
public sealed record SafeTensor(string Name, TensorType Type, IReadOnlyList<long> Shape, long Offset, long Bytes);

/// <summary>
/// An open safetensors file: u64 length, JSON header, data. Tensors of types this version cannot use are listed in
/// <see cref="Unsupported"/>, so that a model is refused only when it needs one of them.
/// </summary>
public sealed class SafeTensorsFile : IDisposable
{
    private const long MaxHeader = 256L << 20;
    private readonly SafeFileHandle _handle;

    private SafeTensorsFile(
        string path, SafeFileHandle handle, Dictionary<string, SafeTensor> tensors, Dictionary<string, string> unsupported)
    {
        Path = path;
        _handle = handle;
        Tensors = tensors;
        Unsupported = unsupported;
    }

    public string Path { get; }

    public IReadOnlyDictionary<string, SafeTensor> Tensors { get; }

    /// <summary>Name and type of tensors that are neither F32, F16 nor BF16.</summary>
    public IReadOnlyDictionary<string, string> Unsupported { get; }

    /// <exception cref="ModelFormatException">Not a safetensors file, truncated or corrupt.</exception>
    public static SafeTensorsFile Open(string path)
    {
        if (!File.Exists(path))
            throw new ModelFormatException($"{path}: no such file");
        var handle = File.OpenHandle(path);
        try
        {
            return Parse(path, handle);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Fills the buffer with a tensor's bytes from an offset into it.</summary>
    public void Read(SafeTensor tensor, long offset, Span<byte> buffer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + buffer.Length, tensor.Bytes);
        ReadAt(Path, _handle, tensor.Offset + offset, buffer);
    }

    public void Dispose() => _handle.Dispose();

    private static SafeTensorsFile Parse(string path, SafeFileHandle handle)
    {
        var length = RandomAccess.GetLength(handle);
        if (length < 8)
            throw new ModelFormatException($"{path}: not a safetensors file: it has {length} bytes");
        Span<byte> prefix = stackalloc byte[8];
        ReadAt(path, handle, 0, prefix);
        var headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerBytes > MaxHeader || 8 + (long)headerBytes > length)
            throw new ModelFormatException($"{path}: not a safetensors file, or truncated: its header would take {headerBytes} bytes");
        var header = new byte[headerBytes];
        ReadAt(path, handle, 8, header);
        var tensors = new Dictionary<string, SafeTensor>();
        var unsupported = new Dictionary<string, string>();
        try
        {
            using var json = JsonDocument.Parse(header);
            foreach (var entry in json.RootElement.EnumerateObject())
            {
                if (entry.Name != "__metadata__")
                    Add(path, entry, 8 + (long)headerBytes, length, tensors, unsupported);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or KeyNotFoundException
            or OverflowException or IndexOutOfRangeException)
        {
            throw new ModelFormatException($"{path}: corrupt safetensors header: {e.Message}", e);
        }

        return new SafeTensorsFile(path, handle, tensors, unsupported);
    }

    private static void Add(
        string path, JsonProperty entry, long dataStart, long fileLength, Dictionary<string, SafeTensor> tensors,
        Dictionary<string, string> unsupported)
    {
        var typeName = entry.Value.GetProperty("dtype").GetString() ?? "";
        var shape = entry.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64()).ToArray();
        var offsets = entry.Value.GetProperty("data_offsets");
        var (begin, end) = (offsets[0].GetInt64(), offsets[1].GetInt64());
        if (begin < 0 || end < begin || end > fileLength - dataStart)
        {
            throw new ModelFormatException(
                $"{path}: truncated: tensor {entry.Name} ends at {dataStart + end}, the file has {fileLength} bytes");
        }

        TensorType? type = typeName switch { "F32" => TensorType.F32, "F16" => TensorType.F16, "BF16" => TensorType.BF16, _ => null };
        if (type is null)
        {
            unsupported[entry.Name] = typeName;
            return;
        }

        var elements = shape.Aggregate(1L, (a, b) => b < 0 ? throw new FormatException("negative dimension") : checked(a * b));
        if (checked(elements * type.Value.Block().Bytes) != end - begin)
            throw new ModelFormatException($"{path}: corrupt: tensor {entry.Name} has {end - begin} bytes for {elements} elements");
        if (!tensors.TryAdd(entry.Name, new SafeTensor(entry.Name, type.Value, shape, dataStart + begin, end - begin)))
            throw new ModelFormatException($"{path}: corrupt: tensor {entry.Name} stands twice");
    }

    private static void ReadAt(string path, SafeFileHandle handle, long position, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var read = RandomAccess.Read(handle, buffer, position);
            if (read == 0)
                throw new ModelFormatException($"{path}: truncated while it was read");
            buffer = buffer[read..];
            position += read;
        }
    }
}
