namespace AgileQuant.Orchestrator.Domain;

/// <summary>Whether a file of known size may be written.</summary>
public static class DiskRoom
{
    /// <summary>Left free beside it: the database and the logs go on.</summary>
    public const long Reserve = 256L << 20;

    /// <summary>Null when there is room; else what to do.</summary>
    /// <param name="what">Begins the sentence.</param>
    /// <param name="needed">Bytes of the file.</param>
    /// <param name="free">Bytes free in the folder.</param>
    /// <param name="folder">Where it is to lie.</param>
    public static string? Problem(string what, long needed, long free, string folder) => needed <= free - Reserve ? null
        : $"{what} needs {PackMemory.Gib(needed)} of disk and {PackMemory.Gib(Reserve)} beside it, {folder} has {PackMemory.Gib(free)} free: make room there, or choose a smaller one";
}
