using System.IO.Compression;
using AgileQuant.Engine.Gguf;
using Microsoft.Win32.SafeHandles;

namespace AgileQuant.Engine.Pickle;

/// <summary>
/// An open <c>pytorch_model.bin</c> as PyTorch 1.6 and later write it: a zip archive whose <c>data.pkl</c> describes a state dict
/// and whose <c>data/KEY</c> entries, stored without compression, hold the elements. These are read where they lie in the file.
/// </summary>
internal sealed class PyTorchFile : IDisposable
{
    private const long MaxPickle = 64L << 20;
    private readonly SafeFileHandle _handle;
    private readonly Dictionary<string, long> _offsets = []; // of the entry of a storage, by key

    private PyTorchFile(string path, SafeFileHandle handle)
    {
        Path = path;
        _handle = handle;
    }

    public string Path { get; }

    /// <summary>By name, in the order of the file.</summary>
    public Dictionary<string, PickleTensor> Tensors { get; } = new(StringComparer.Ordinal);

    /// <exception cref="ModelFormatException">Not such a file, truncated, corrupt, or with more in it than tensors.</exception>
    public static PyTorchFile Open(string path)
    {
        if (!File.Exists(path))
            throw new ModelFormatException($"{path}: no such file");
        var file = new PyTorchFile(path, File.OpenHandle(path));
        try
        {
            file.CheckStart();
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            using var archive = new ZipArchive(stream, ZipArchiveMode.Read);
            file.ReadStateDict(archive, stream);
            return file;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or NotSupportedException or ArgumentException or OverflowException)
        {
            file.Dispose();
            throw new ModelFormatException($"{path}: truncated or corrupt zip archive: {e.Message}", e);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Fills the buffer with a tensor's bytes from an offset into it.</summary>
    public void Read(PickleTensor tensor, long offset, Span<byte> buffer)
    {
        var size = tensor.Storage.Type.Block().Bytes;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + buffer.Length, tensor.Elements * size);
        ReadAt(_offsets[tensor.Storage.Key] + tensor.FirstElement * size + offset, buffer);
    }

    public void Dispose() => _handle.Dispose();

    private void CheckStart()
    {
        Span<byte> start = stackalloc byte[4];
        if (RandomAccess.Read(_handle, start, 0) < 4)
            throw new ModelFormatException($"{Path}: not a PyTorch file: it is shorter than a header");
        if (start[0] == 0x80)
        {
            throw new ModelFormatException($"{Path}: written in PyTorch's format before 1.6, which is not supported; "
                + "load it with torch.load and save it again with torch.save, or as safetensors");
        }

        if (!start.SequenceEqual("PK\u0003\u0004"u8))
            throw new ModelFormatException($"{Path}: not a PyTorch file: it is no zip archive");
    }

    private void ReadStateDict(ZipArchive archive, FileStream stream)
    {
        var pickles = archive.Entries.Where(e => e.FullName.EndsWith("/data.pkl", StringComparison.Ordinal)).ToList();
        if (pickles.Count != 1)
            throw new ModelFormatException($"{Path}: not a PyTorch state dict: it has {pickles.Count} entries data.pkl");
        var root = pickles[0].FullName[..^"data.pkl".Length];
        var entries = archive.Entries.GroupBy(e => e.FullName).ToDictionary(
            g => g.Key, g => g.Count() == 1 ? g.First() : throw new ModelFormatException($"{Path}: corrupt: entry {g.Key} stands twice"));
        if (entries.TryGetValue(root + "byteorder", out var order) && System.Text.Encoding.ASCII.GetString(Content(order, 16)) != "little")
            throw new ModelFormatException($"{Path}: its numbers are not little-endian; save it again on such a machine");
        if (new PickleMachine(Content(pickles[0], MaxPickle), Path).Run() is not PickleDictionary state)
            throw new ModelFormatException($"{Path}: not a PyTorch state dict: data.pkl is no dict");
        foreach (var (name, value) in state.Items)
        {
            Tensors[name] = value as PickleTensor
                ?? throw new ModelFormatException($"{Path}: '{name}' is no tensor; save the model's state_dict() itself");
        }

        foreach (var storage in Tensors.Values.Select(t => t.Storage).Distinct())
            Place(storage, entries.GetValueOrDefault($"{root}data/{storage.Key}"), stream);
    }

    /// <summary>Finds where the entry of a storage begins.</summary>
    private void Place(PickleStorage storage, ZipArchiveEntry? entry, FileStream stream)
    {
        var bytes = storage.Elements * storage.Type.Block().Bytes;
        if (entry is null || entry.Length < bytes)
        {
            throw new ModelFormatException(
                $"{Path}: truncated: data/{storage.Key} has {entry?.Length ?? 0} bytes, {bytes} were announced");
        }

        if (entry.CompressedLength != entry.Length)
            throw new ModelFormatException($"{Path}: data/{storage.Key} is compressed; torch.save stores data as it is");
        using var content = entry.Open();
        Span<byte> first = stackalloc byte[(int)Math.Min(64, bytes)];
        Span<byte> same = stackalloc byte[first.Length];
        content.ReadExactly(first);
        // Stored bytes are read straight from the file, so that its position tells where they lie.
        var offset = stream.Position - first.Length;
        ReadAt(offset, same);
        if (!first.SequenceEqual(same) || offset + bytes > stream.Length)
            throw new ModelFormatException($"{Path}: data/{storage.Key} is compressed or corrupt; torch.save stores data as it is");
        _offsets[storage.Key] = offset;
    }

    private byte[] Content(ZipArchiveEntry entry, long limit)
    {
        if (entry.Length > limit)
            throw new ModelFormatException($"{Path}: {entry.FullName} has {entry.Length} bytes, at most {limit} are supported");
        var content = new byte[entry.Length];
        using var stream = entry.Open();
        stream.ReadExactly(content);
        return content;
    }

    private void ReadAt(long position, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var read = RandomAccess.Read(_handle, buffer, position);
            if (read == 0)
                throw new ModelFormatException($"{Path}: truncated while it was read");
            buffer = buffer[read..];
            position += read;
        }
    }
}
