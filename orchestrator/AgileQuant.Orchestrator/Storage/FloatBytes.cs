using System.Buffers.Binary;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Little-endian float32, as in bytea columns and nll files.</summary>
public static class FloatBytes
{
    public static byte[] Write(ReadOnlySpan<float> values)
    {
        var bytes = new byte[values.Length * sizeof(float)];
        for (var i = 0; i < values.Length; i++)
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(i * sizeof(float)), values[i]);
        return bytes;
    }

    public static float[] Read(ReadOnlySpan<byte> bytes)
    {
        var values = new float[bytes.Length / sizeof(float)];
        for (var i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadSingleLittleEndian(bytes[(i * sizeof(float))..]);
        return values;
    }

    /// <summary>Reads an nll file of <c>[windows][targets]</c>.</summary>
    /// <exception cref="InvalidDataException">The file has another size.</exception>
    public static List<float[]> ReadWindows(string path, int windows, int targets)
    {
        var bytes = File.ReadAllBytes(path);
        if (bytes.LongLength != (long)windows * targets * sizeof(float))
            throw new InvalidDataException($"{Path.GetFileName(path)} has {bytes.LongLength} bytes; {windows} windows of {targets} targets need {(long)windows * targets * 4}.");
        return [.. Enumerable.Range(0, windows).Select(w => Read(bytes.AsSpan(w * targets * sizeof(float), targets * sizeof(float))))];
    }
}
