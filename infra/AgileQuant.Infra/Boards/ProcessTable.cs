using System.Globalization;

namespace AgileQuant.Infra.Boards;

/// <summary>The kernel's process table, as far as a private sshd needs it.</summary>
internal static class ProcessTable
{
    public static string CommandLine(int pid) => string.Join(' ', Arguments(pid));

    public static IReadOnlyList<int> Children(int parent) => [.. All().Where(pid => StatusNumber(pid, "PPid:") == parent)];

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

    /// <summary>Processes a debugger-like parent, such as proot, holds.</summary>
    public static IReadOnlyList<int> TracedBy(int tracer) => [.. All().Where(pid => StatusNumber(pid, "TracerPid:") == tracer)];

    private static int StatusNumber(int pid, string field)
    {
        try
        {
            var line = File.ReadLines($"/proc/{pid}/status").FirstOrDefault(l => l.StartsWith(field, StringComparison.Ordinal));
            return int.TryParse(line?[field.Length..], NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture, out var value) ? value : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }
}
