using System.Text;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host;

/// <summary>The folder that holds all state of this machine's node, and where things lie in it.</summary>
public sealed record BenchHome(string Folder)
{
    private const int LongestSocketPath = 107;

    public string RunFolder => Path.Combine(Folder, "run");

    /// <summary>REST API for local clients; its folder and mode are the protection.</summary>
    public string Socket => Path.Combine(RunFolder, "api.sock");

    /// <summary>Held by the node as long as it lives.</summary>
    public string Lock => Path.Combine(RunFolder, "node.lock");

    /// <summary>Where the running node wrote its port and process id.</summary>
    public string NodeFile => Path.Combine(RunFolder, "node.json");

    public string NodeLog => Path.Combine(Folder, "logs", "node.log");

    /// <summary>Data-protection keys: sessions survive a restart.</summary>
    public string KeyFolder => Path.Combine(Folder, "keys");

    public string PostgresFolder => Path.Combine(Folder, "postgres");

    public string ReportFolder => Path.Combine(Folder, "reports");

    /// <summary>Boards that the demo makes on this machine.</summary>
    public string BoardFolder => Path.Combine(Folder, "boards");

    /// <summary>Files that the demo made and reuses.</summary>
    public string DemoFolder => Path.Combine(Folder, "demo");

    /// <summary>
    /// <c>BENCH_HOME</c>; else <c>/var/lib/agilequant-bench</c> for root (Postgres runs as its own user and cannot enter root's
    /// home); else <c>agilequant-bench</c> in the XDG data folder.
    /// </summary>
    public static BenchHome Resolve(Func<string, string?>? environment = null, bool? root = null)
    {
        var get = environment ?? Environment.GetEnvironmentVariable;
        if (get("BENCH_HOME") is { Length: > 0 } given)
            return new BenchHome(Path.TrimEndingDirectorySeparator(Path.GetFullPath(given)));
        if (root ?? Environment.IsPrivilegedProcess)
            return new BenchHome("/var/lib/agilequant-bench");
        var data = get("XDG_DATA_HOME") is { Length: > 0 } xdg && Path.IsPathRooted(xdg)
            ? xdg
            : Path.Combine(get("HOME") ?? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "share");
        return new BenchHome(Path.Combine(data, "agilequant-bench"));
    }

    /// <summary>Makes the folders. Only the own user enters them; root's home folder lets the Postgres account pass through.</summary>
    public void Create()
    {
        if (Encoding.UTF8.GetByteCount(Socket) > LongestSocketPath)
            throw new UserErrorException($"the path {Socket} is too long for a Unix socket; set BENCH_HOME to a shorter folder");
        try
        {
            var passage = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
            if (Environment.IsPrivilegedProcess)
                passage |= UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
            Directory.CreateDirectory(Folder, passage);
            foreach (var folder in new[] { RunFolder, KeyFolder, ReportFolder, Path.GetDirectoryName(NodeLog)! })
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new UserErrorException($"cannot create {Folder}: {e.Message}; set BENCH_HOME to a folder you may write to", e);
        }
    }
}
