using System.Globalization;

namespace AgileQuant.Agent;

/// <summary>
/// Files through commands every board has, for all transports. dd writes at a position instead of appending: a session that
/// was cut off may still hold bytes it writes late, and those then land where the same bytes belong.
/// </summary>
internal static class RemoteFileCommand
{
    /// <summary>Blocks of an upload: resuming starts at a multiple, so that dd can seek to it.</summary>
    public const int BlockBytes = 1 << 16;

    /// <summary>Where an upload that may go on at <paramref name="resumeOffset"/> begins to send.</summary>
    public static long Start(long resumeOffset, long length) => Math.Min(resumeOffset, length) / BlockBytes * BlockBytes;

    /// <summary>Reads the file's bytes from <paramref name="start"/> on from standard input; fails when they end too early.</summary>
    public static string[] Upload(string remotePath, long start, long length)
    {
        var script =
            $"umask 077; dd bs={BlockBytes} seek=$2 of=\"$1\"{(start > 0 ? " conv=notrunc" : "")} && size=$(wc -c < \"$1\") && " +
            "{ [ \"$size\" -eq \"$3\" ] || { echo \"$1 has $size bytes instead of $3\" >&2; exit 74; }; }";
        return ["sh", "-c", script, "sh", remotePath, Text(start / BlockBytes), Text(length)];
    }

    /// <summary>Writes at most <paramref name="maxBytes"/> bytes from <paramref name="offset"/> on to standard output.</summary>
    public static string[] Download(string remotePath, long offset, long maxBytes)
    {
        const string Script =
            "[ -f \"$1\" ] && [ -r \"$1\" ] || { echo \"$1 is not there or cannot be read\" >&2; exit 66; }; ";
        var copy = maxBytes == long.MaxValue ? "exec tail -c +$2 -- \"$1\"" : "tail -c +$2 -- \"$1\" | head -c $3";
        return ["sh", "-c", Script + copy, "sh", remotePath, Text(offset + 1), Text(maxBytes)];
    }

    /// <summary>A command's short name for messages.</summary>
    public static string Describe(IReadOnlyList<string> command) =>
        command.Count > 1 && command[0].Contains('/') ? $"'{Path.GetFileName(command[0])} {command[1]}'" : $"'{command[0]}'";

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
