namespace AgileQuant.Engine.Packing;

/// <summary>Byte arrays by name in a file that goes away with it: quantized linears wait here until the header can be written.</summary>
internal sealed class ScratchFile : IDisposable
{
    private readonly FileStream _stream;
    private readonly Dictionary<string, (long Offset, int Length)> _parts = new(StringComparer.Ordinal);

    /// <param name="beside">The file that is being made; the scratch file lies in its folder, where there is space for it.</param>
    public ScratchFile(string beside)
    {
        var path = Path.GetFullPath(beside);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        _stream = new FileStream($"{path}.{Guid.NewGuid():N}.tmp", FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.DeleteOnClose);
    }

    public void Add(string name, byte[] bytes)
    {
        _parts.Add(name, (_stream.Position, bytes.Length));
        _stream.Write(bytes);
    }

    public byte[] Read(string name)
    {
        var (offset, length) = _parts[name];
        var bytes = new byte[length];
        _stream.Flush();
        RandomAccess.Read(_stream.SafeFileHandle, bytes, offset);
        return bytes;
    }

    public void Dispose() => _stream.Dispose();
}
