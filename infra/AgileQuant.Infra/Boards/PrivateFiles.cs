namespace AgileQuant.Infra.Boards;

/// <summary>Folders and files with explicit Unix modes; boards on this machine need a Unix.</summary>
internal static class PrivateFiles
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private const UnixFileMode Others =
        UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>Mode 0700, or 0755 when <paramref name="readable"/>; an existing folder is left as it is.</summary>
    public static void CreateFolder(string path, bool readable = false)
    {
        RefuseWindows();
        if (!OperatingSystem.IsWindows())
            Directory.CreateDirectory(path, readable ? Owner | Others : Owner);
    }

    public static async Task WriteScriptAsync(string path, string text, CancellationToken cancellationToken)
    {
        RefuseWindows();
        await File.WriteAllTextAsync(path, text, cancellationToken);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, Owner);
    }

    /// <summary>Copies a program, whole or not at all, and makes it executable.</summary>
    public static async Task CopyProgramAsync(string source, string target, CancellationToken cancellationToken)
    {
        var temporary = target + ".part";
        await using (var from = File.OpenRead(source))
        await using (var to = File.Create(temporary))
            await from.CopyToAsync(to, cancellationToken);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(temporary, Owner);
        File.Move(temporary, target, overwrite: true);
    }

    private static void RefuseWindows()
    {
        if (OperatingSystem.IsWindows())
            throw new PlatformNotSupportedException("Boards on this machine need Linux; use WSL or register another machine.");
    }
}
