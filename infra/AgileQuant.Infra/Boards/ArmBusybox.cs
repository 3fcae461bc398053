namespace AgileQuant.Infra.Boards;

/// <summary>
/// Gets a static arm64 busybox with the system's own apt, its sources and its keys, but a private state in which the
/// architecture is arm64: nothing of the system changes, and no root is needed.
/// </summary>
internal static class ArmBusybox
{
    private static readonly string[] Programs = ["bin/busybox", "usr/bin/busybox"];
    private static readonly TimeSpan DownloadTimeout = TimeSpan.FromMinutes(5);

    public static async Task<string> GetAsync(string cacheFolder, CancellationToken cancellationToken)
    {
        var cached = Path.Combine(Path.GetFullPath(cacheFolder), "busybox-arm64");
        if (File.Exists(cached))
            return cached;
        if (ToolProcess.Find("apt-get") is not { } apt || ToolProcess.Find("dpkg-deb") is not { } dpkg)
            throw new InvalidOperationException($"An arm64 busybox is needed and apt is not here: put a static one at {cached}.");

        Directory.CreateDirectory(cacheFolder);
        var work = Directory.CreateTempSubdirectory("aq-apt-").FullName;
        try
        {
            var options = PrepareState(work);
            await ToolProcess.RunAsync(apt, [.. options, "-q", "update"], DownloadTimeout, cancellationToken, work);
            await ToolProcess.RunAsync(apt, [.. options, "-q", "download", "busybox-static"], DownloadTimeout, cancellationToken, work);
            var package = Directory.EnumerateFiles(work, "busybox-static_*_arm64.deb").Single();
            await ToolProcess.RunAsync(dpkg, ["-x", package, Path.Combine(work, "root")], DownloadTimeout, cancellationToken);
            var found = Programs.Select(p => Path.Combine(work, "root", p)).First(File.Exists);
            var temporary = cached + "." + Guid.NewGuid().ToString("N")[..8];
            File.Copy(found, temporary);
            File.Move(temporary, cached, overwrite: true);
            return cached;
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private static string[] PrepareState(string work)
    {
        Directory.CreateDirectory(Path.Combine(work, "state/lists/partial"));
        Directory.CreateDirectory(Path.Combine(work, "cache/archives/partial"));
        var status = Path.Combine(work, "state/status");
        File.WriteAllText(status, "");
        return
        [
            "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", $"Dir::State={work}/state",
            "-o", $"Dir::State::status={status}", "-o", $"Dir::Cache={work}/cache", "-o", "APT::Sandbox::User=",
        ];
    }
}
