using AgileQuant.Engine;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>How much memory a node needs to make a pack. Said when a matrix is planned, checked before the work starts.</summary>
public static class PackMemory
{
    private const long Reserve = 256L << 20;

    /// <summary>
    /// An upper estimate in bytes. Plain packs stream chunks of rows. Calibration keeps, layer by layer, the residual streams of all windows
    /// before and after the layer (fp32), the layer's weights in fp32 twice, for GPTQ a matrix of second moments of the widest
    /// input in fp64 with its factor, and the activations of a window.
    /// </summary>
    public static long Needed(ModelShape shape, bool calibrated, int windows = CalibrationText.DefaultWindows, int context = CalibrationText.DefaultContext)
    {
        if (!calibrated)
            return Reserve;
        long dim = shape.Dimension, inner = shape.FeedForward, widest = Math.Max(dim, inner);
        var streams = 2L * windows * context * dim * sizeof(float);
        var weights = 2L * ((4 * dim * dim) + (3 * dim * inner)) * sizeof(float);
        var moments = 2L * widest * widest * sizeof(double);
        var activations = context * ((6 * dim) + (3 * inner) + ((long)shape.Heads * context)) * sizeof(float);
        return streams + weights + moments + activations + Reserve;
    }

    /// <summary>Null when it fits; else what to do.</summary>
    /// <param name="what">Model and precision.</param>
    /// <param name="needed">See <see cref="Needed"/>.</param>
    /// <param name="available">Bytes that the node has free; null: it cannot tell.</param>
    public static string? Problem(string what, long needed, long? available) => available is { } free && needed > free
        ? $"packing {what} needs {Gib(needed)} of memory, this node has {Gib(free)} free: close other programs, or start a node on a machine with more memory (docs/cluster.md)"
        : null;

    public static string Gib(long bytes) => FormattableString.Invariant($"{bytes / (double)(1L << 30):0.0} GiB");

    /// <summary>Bytes that this machine has available now, by <c>/proc/meminfo</c>; null where there is none.</summary>
    public static long? Available()
    {
        const string meminfo = "/proc/meminfo";
        if (!File.Exists(meminfo))
            return null;
        var line = File.ReadLines(meminfo).FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal));
        return line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var kib, ..] && long.TryParse(kib, out var value) ? value * 1024 : null;
    }
}
