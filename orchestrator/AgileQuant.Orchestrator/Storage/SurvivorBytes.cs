namespace AgileQuant.Orchestrator.Storage;

/// <summary>Masks of pruned runs: a byte a target, 1 where the position that predicts it stayed to the end, else 0.</summary>
public static class SurvivorBytes
{
    /// <summary>Reads a survivors file of <c>[windows][targets]</c>.</summary>
    /// <exception cref="InvalidDataException">The file has another size, or bytes that are neither 0 nor 1.</exception>
    public static List<byte[]> ReadWindows(string path, int windows, int targets)
    {
        var bytes = File.ReadAllBytes(path);
        if (bytes.LongLength != (long)windows * targets)
            throw new InvalidDataException($"{Path.GetFileName(path)} has {bytes.LongLength} bytes; {windows} windows of {targets} targets need {(long)windows * targets}.");
        if (bytes.AsSpan().ContainsAnyExceptInRange((byte)0, (byte)1))
            throw new InvalidDataException($"{Path.GetFileName(path)} has bytes that are neither 0 nor 1: it is no mask of survivors.");
        return [.. bytes.Chunk(targets)];
    }
}
