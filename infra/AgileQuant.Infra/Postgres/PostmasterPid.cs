using System.Globalization;

namespace AgileQuant.Infra.Postgres;

/// <summary>What <c>postmaster.pid</c> says: process, socket folder, whether the start is complete.</summary>
internal sealed record PostmasterPid(int Pid, string SocketFolder, bool Ready)
{
    /// <summary>Reads the file's lines (pid, data, start time, port, socket folder, address, memory, state).</summary>
    public static PostmasterPid? Parse(string text)
    {
        var lines = text.Split('\n');
        if (!int.TryParse(lines[0].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) || pid <= 0)
        {
            return null;
        }

        var socket = lines.Length > 4 ? lines[4].Trim() : "";
        return new PostmasterPid(pid, socket, lines.Length > 7 && lines[7].Trim() == "ready");
    }

    public static PostmasterPid? Read(string file)
    {
        try
        {
            return Parse(File.ReadAllText(file));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <summary>
    /// Whether that process is a Postgres server. After a crash or a reboot the number may be free, or belong to
    /// another program; then the file is stale.
    /// </summary>
    public bool IsAlive()
    {
        try
        {
            return IsRunningPostgres(File.ReadAllText($"/proc/{Pid}/stat"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Reads "4711 (postgres) S …": a zombie that nobody has waited for is dead.</summary>
    public static bool IsRunningPostgres(string procStat)
    {
        var (open, close) = (procStat.IndexOf('('), procStat.LastIndexOf(')'));
        return open >= 0 && close > open && procStat.Length > close + 2
            && procStat[(open + 1)..close] is "postgres" or "postmaster"
            && procStat[close + 2] is not ('Z' or 'X');
    }
}
