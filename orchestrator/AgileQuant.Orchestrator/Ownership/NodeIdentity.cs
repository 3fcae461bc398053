namespace AgileQuant.Orchestrator.Ownership;

/// <summary>This process as a node of the cluster. A new one at each start: leases of an earlier process are never ours.</summary>
public sealed record NodeIdentity(Guid Id, string Name, string? BootId)
{
    public static NodeIdentity Create(string name) => new(Guid.CreateVersion7(), name, ReadBootId());

    /// <summary>Which boot of which machine this process runs in; null where the kernel does not show it.</summary>
    private static string? ReadBootId()
    {
        const string path = "/proc/sys/kernel/random/boot_id";
        return File.Exists(path) ? File.ReadAllText(path).Trim() : null;
    }
}
