using System.Globalization;

namespace AgileQuant.Infra.Boards;

/// <summary>The kernel's process table, as far as a private sshd needs it.</summary>
internal static class ProcessTable
{
    public static string CommandLine(int pid) => string.Join(' ', Arguments(pid));

    public static IReadOnlyList<int> Children(int parent) => [.. All().Where(pid => Parent(pid) == parent)];

    public static IEnumerable<int> Descendants(int parent) => Children(parent).SelectMany(c => Descendants(c).Prepend(c));

    /// <summary>Processes that have this very text as one of their arguments.</summary>
    public static IReadOnlyList<int> WithArgument(string argument) => [.. All().Where(pid => Arguments(pid).Contains(argument))];

    /// <summary>Sends a signal by name; a process that is gone is no error.</summary>
    public static async Task SignalAsync(IEnumerable<int> pids, string signal, CancellationToken cancellationToken)
    {
        string[] list = [.. pids.Select(p => p.ToString(CultureInfo.InvariantCulture))];
        if (list.Length == 0)
            return;
        const string Script = "s=$1; shift; for p; do kill -s \"$s\" \"$p\" 2>/dev/null; done; :";
        await ToolProcess.RunAsync("/bin/sh", ["-c", Script, "sh", signal, .. list], TimeSpan.FromSeconds(10), cancellationToken);
    }

    private static IEnumerable<int> All() => Directory.EnumerateDirectories("/proc")
        .Select(path => int.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : 0)
        .Where(pid => pid > 0);

    private static string[] Arguments(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline").Split('\0');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // "pid (name with any characters) state ppid ..."
    private static int Parent(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return int.Parse(fields[1], CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or ArgumentOutOfRangeException)
        {
            return 0;
        }
    }
}
