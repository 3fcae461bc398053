using Microsoft.Win32.SafeHandles;

namespace AgileQuant.Engine.Gguf;

/// <summary>An open GGUF file: its header in memory, tensor data read on demand. Reads may come from several threads.</summary>
public sealed class GgufFile : IDisposable
{
    private readonly SafeFileHandle _handle;
    private readonly Dictionary<string, GgufTensor> _byName;

    private GgufFile(string path, SafeFileHandle handle, GgufMetadata metadata, List<GgufTensor> tensors)
    {
        Path = path;
        _handle = handle;
        Metadata = metadata;
        Tensors = tensors;
        _byName = tensors.ToDictionary(t => t.Name);
    }

    public string Path { get; }

    public GgufMetadata Metadata { get; }

    /// <summary>In file order.</summary>
    public IReadOnlyList<GgufTensor> Tensors { get; }

    /// <exception cref="ModelFormatException">Not a GGUF file, truncated, corrupt, or with unsupported tensor types.</exception>
    public static GgufFile Open(string path)
    {
        if (!File.Exists(path))
            throw new ModelFormatException($"{path}: no such file");
        GgufMetadata metadata;
        List<GgufTensor> tensors;
        using (var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16))
            (metadata, tensors) = new GgufHeaderReader(stream, path).Read();
        return new GgufFile(path, File.OpenHandle(path), metadata, tensors);
    }

    public bool Contains(string name) => _byName.ContainsKey(name);

    public GgufTensor? Find(string name) => _byName.GetValueOrDefault(name);

    /// <exception cref="ModelFormatException">The file has no such tensor.</exception>
    public GgufTensor Tensor(string name) =>
        Find(name) ?? throw new ModelFormatException($"{Path}: tensor {name} is missing");

    /// <summary>Fills the buffer with a tensor's bytes from an offset into it.</summary>
    public void Read(GgufTensor tensor, long offset, Span<byte> buffer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + buffer.Length, tensor.Bytes);
        var position = tensor.Offset + offset;
        while (!buffer.IsEmpty)
        {
            var read = RandomAccess.Read(_handle, buffer, position);
            if (read == 0)
                throw new ModelFormatException($"{Path}: truncated while it was read, in tensor {tensor.Name}");
            buffer = buffer[read..];
            position += read;
        }
    }

    /// <summary>A whole tensor as fp32, row-major; for tensors that fit one array.</summary>
    public float[] ReadFloats(GgufTensor tensor)
    {
        var values = new float[tensor.Elements];
        var bytes = ReadBytes(tensor);
        TensorCodec.ToFloats(tensor.Type, bytes, values);
        return values;
    }

    /// <summary>All bytes of a tensor that fits one array.</summary>
    public byte[] ReadBytes(GgufTensor tensor)
    {
        var bytes = new byte[tensor.Bytes];
        Read(tensor, 0, bytes);
        return bytes;
    }

    public void Dispose() => _handle.Dispose();
}
