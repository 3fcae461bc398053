using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace AgileQuant.Engine.Tests.Pickle;

/// <summary>Writes files as <c>torch.save(state_dict)</c> does, and wrong ones: every part can be put in by hand.</summary>
internal sealed class StateDictWriter
{
    private readonly List<byte> _pickle = [];
    private readonly Dictionary<string, byte[]> _storages = [];

    public StateDictWriter()
    {
        Raw(0x80, 2);
        Global("collections", "OrderedDict").Raw(')', 'R', '(');
    }

    public CompressionLevel Compression { get; init; } = CompressionLevel.NoCompression;

    public string ByteOrder { get; init; } = "little";

    /// <summary>A tensor with a storage of its own.</summary>
    public StateDictWriter Add(string name, string storageType, byte[] elements, params long[] shape)
    {
        var key = Store(elements);
        return Text(name).Tensor(storageType, key, elements.Length / (storageType == "FloatStorage" ? 4 : 2), 0, shape, Contiguous(shape));
    }

    /// <returns>The key of the new storage.</returns>
    public string Store(byte[] elements)
    {
        var key = _storages.Count.ToString(System.Globalization.CultureInfo.InvariantCulture);
        _storages[key] = elements;
        return key;
    }

    public StateDictWriter Tensor(string storageType, string key, long elements, long first, long[] shape, long[] strides)
    {
        Global("torch._utils", "_rebuild_tensor_v2").Raw('(', '(').Text("storage").Global("torch", storageType).Text(key).Text("cpu")
            .Integer(elements).Raw('t', 'Q').Integer(first);
        Integers(shape);
        Integers(strides);
        return Raw(0x89).Global("collections", "OrderedDict").Raw(')', 'R', 't', 'R');
    }

    public StateDictWriter Global(string module, string name)
    {
        _pickle.AddRange(Encoding.ASCII.GetBytes($"c{module}\n{name}\n"));
        return this;
    }

    public StateDictWriter Text(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
        Raw('X');
        _pickle.AddRange(length);
        _pickle.AddRange(bytes);
        return this;
    }

    public StateDictWriter Integer(long value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        Raw(0x8A, 8);
        _pickle.AddRange(bytes);
        return this;
    }

    public StateDictWriter Raw(params int[] opcodes)
    {
        foreach (var opcode in opcodes)
            _pickle.Add((byte)opcode);
        return this;
    }

    /// <summary>Closes the dict and writes the archive.</summary>
    public void Save(string path, bool withState = false)
    {
        Raw('u');
        if (withState) // the _metadata of a module's state_dict()
            Raw('}').Text("_metadata").Global("collections", "OrderedDict").Raw(')', 'R', 's', 'b');
        Raw('.');
        SaveAsIs(path);
    }

    public void SaveAsIs(string path)
    {
        using var file = File.Create(path);
        using var zip = new ZipArchive(file, ZipArchiveMode.Create);
        Entry(zip, "archive/data.pkl", _pickle.ToArray(), CompressionLevel.NoCompression);
        Entry(zip, "archive/byteorder", Encoding.ASCII.GetBytes(ByteOrder), CompressionLevel.NoCompression);
        foreach (var (key, elements) in _storages)
            Entry(zip, $"archive/data/{key}", elements, Compression);
        Entry(zip, "archive/version", "3\n"u8.ToArray(), CompressionLevel.NoCompression);
    }

    public static long[] Contiguous(long[] shape) =>
        [.. Enumerable.Range(1, shape.Length).Select(d => shape.Skip(d).Aggregate(1L, (a, b) => a * b))];

    private void Integers(long[] values)
    {
        Raw('(');
        foreach (var value in values)
            Integer(value);
        Raw('t');
    }

    private static void Entry(ZipArchive zip, string name, byte[] content, CompressionLevel compression)
    {
        using var stream = zip.CreateEntry(name, compression).Open();
        stream.Write(content);
    }
}
