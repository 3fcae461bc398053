using AgileQuant.Engine;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>How much memory a node needs to make a pack. Said when a matrix is planned, checked before the work starts.</summary>
public static class PackMemory
{
    private const long Reserve = 256L << 20;
    private const long GarbagePercent = 120; // arrays that the garbage collector has not taken yet

    /// <summary>
    /// An upper estimate in bytes, what the calibrator holds at its widest (docs/quantization.md, "The pass"). Plain packs stream chunks of
    /// rows. Calibration keeps, for all windows in fp32, two residual streams, two inputs of a place and what two passes make of them; the
    /// weights of a place as they were and as they were rounded, and three more of one linear while GPTQ works on it; its statistics in fp64
    /// with their factors; at the end the output head twice.
    /// </summary>
    /// <param name="shape">Of the model.</param>
    /// <param name="calibrated">The recipe has a calibration text.</param>
    /// <param name="windows">Calibration windows.</param>
    /// <param name="context">Ids of each.</param>
    /// <param name="processors">Each has a window in work; null: those of this machine.</param>
    public static long Needed(
        ModelShape shape, bool calibrated, int windows = CalibrationText.DefaultWindows, int context = CalibrationText.DefaultContext, int? processors = null)
    {
        if (!calibrated)
            return Reserve;
        long dim = shape.Dimension, inner = shape.FeedForward, widest = Math.Max(dim, inner), rows = (long)windows * context;
        var streams = rows * ((4 * dim) + (2 * widest)) * sizeof(float);
        var weights = ((2 * 2) + 3) * Math.Max(dim * inner, dim * dim) * sizeof(float);
        var moments = widest * widest * ((5 * sizeof(double)) + sizeof(float));
        var head = 2L * shape.VocabularySize * dim * sizeof(float);
        var activations = (long)(processors ?? Environment.ProcessorCount) * context * ((6 * dim) + (6 * inner) + (2L * context)) * sizeof(float);
        return ((streams + Math.Max(weights + moments, head) + activations) * GarbagePercent / 100) + Reserve;
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
