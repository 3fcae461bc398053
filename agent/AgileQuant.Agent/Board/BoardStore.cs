using System.Globalization;
using System.Security.Cryptography;

namespace AgileQuant.Agent;

public enum PushResult
{
    /// <summary>It was there and its hash is right.</summary>
    AlreadyThere,

    Uploaded,

    /// <summary>An earlier, cut-off upload was completed.</summary>
    Resumed,
}

/// <summary>How a push ended. <paramref name="BytesSent"/> counts from where it began or resumed.</summary>
public sealed record PushOutcome(PushResult Result, long BytesSent);

/// <summary>Progress of a push, for people.</summary>
public readonly record struct PushProgress(long BytesDone, long BytesTotal);

/// <summary>An artifact cannot be stored on the board. The message says why and what to do.</summary>
public sealed class BoardStoreException : RemoteShellException
{
    public BoardStoreException()
    {
    }

    public BoardStoreException(string message)
        : base(message)
    {
    }

    public BoardStoreException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }
}

/// <summary>
/// The board's content-addressed artifacts. A file is uploaded as <c>.part</c>, verified there, and renamed into place, so
/// what stands under a hash is whole. It is hashed again once after each boot, because storage on boards does rot.
/// </summary>
public static class BoardStore
{
    /// <summary>Left free beside what is uploaded.</summary>
    public const long DiskReserveBytes = 32L << 20;

    // Arguments: root, artifact, size. Prints what is there: "ready", or "<part size> <free KiB>".
    private const string LookScript =
        """
        f=$1/store/$2; ok=$f.ok; boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
        umask 077; mkdir -p "$1/store" || exit 1
        if [ -f "$f" ] && [ "$(wc -c <"$f")" -eq "$3" ]; then
            if [ -f "$ok" ] && [ ! "$f" -nt "$ok" ] && [ -n "$boot" ] && [ "$(cat "$ok")" = "$boot" ]; then echo ready; exit 0; fi
            if [ "$(hash "$f")" = "$2" ]; then printf '%s\n' "$boot" >"$ok"; echo ready; exit 0; fi
        fi
        rm -f "$f" "$ok"
        part=0; [ -f "$f.part" ] && part=$(wc -c <"$f.part")
        echo part $part; df -Pk "$1/store" 2>/dev/null || df -k "$1/store"
        """;

    // Arguments: root, artifact, size, mode. Exit code 3: the hash differs, the part is removed.
    private const string CommitScript =
        """
        f=$1/store/$2
        h=$(hash "$f.part") || exit 1
        if [ "$h" != "$2" ]; then rm -f "$f.part"; echo "$h" >&2; exit 3; fi
        chmod "$4" "$f.part" && mv -f "$f.part" "$f" && cat /proc/sys/kernel/random/boot_id >"$f.ok" 2>/dev/null
        [ -f "$f" ]
        """;

    private const string HashFunction =
        """
        hash() {
            if command -v sha256sum >/dev/null; then h=$(sha256sum <"$1")
            elif command -v busybox >/dev/null; then h=$(busybox sha256sum <"$1")
            elif command -v toybox >/dev/null; then h=$(toybox sha256sum <"$1")
            elif command -v shasum >/dev/null; then h=$(shasum -a 256 <"$1")
            else echo "the board has none of sha256sum, busybox, toybox and shasum: install coreutils" >&2; return 1; fi
            printf '%s\n' "${h%% *}"
        }

        """;

    /// <summary>Brings a local file into the board's store, unless it is there.</summary>
    /// <param name="shell">Connection to the board.</param>
    /// <param name="localPath">The file.</param>
    /// <param name="sha256">Its SHA-256, lower-case hex; checked on the board, not here.</param>
    /// <param name="progress">Told about bytes on the board.</param>
    /// <param name="executable">True for an engine.</param>
    /// <param name="root">Our folder on the board; null: <c>~/.agilequant</c>.</param>
    /// <exception cref="BoardStoreException">No room, no hash tool, or the content is not what its hash says.</exception>
    /// <exception cref="ConnectionLostException">Push again over a new connection; it resumes.</exception>
    public static async Task<PushOutcome> PushAsync(
        IRemoteShell shell, string localPath, string sha256, IProgress<PushProgress>? progress = null, bool executable = false,
        string? root = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(shell);
        var paths = root is null ? BoardPaths.In(shell) : new BoardPaths(root);
        var artifact = paths.Artifact(sha256);
        var size = new FileInfo(localPath).Length;
        for (var attempt = 1; ; attempt++)
        {
            if (await LookAsync(shell, paths, sha256, size, cancellationToken) is not { } part)
                return new PushOutcome(PushResult.AlreadyThere, 0);
            await shell.UploadAsync(localPath, artifact + ".part", part, Report(progress, size), cancellationToken);
            if (await CommitAsync(shell, paths, sha256, size, executable, cancellationToken))
                return new PushOutcome(part > 0 ? PushResult.Resumed : PushResult.Uploaded, size - part);
            // A wrong part explains one failure; a whole upload that arrives wrong does not go away by repeating.
            if (part == 0 || attempt > 1)
                throw await WrongContentAsync(shell, localPath, sha256, cancellationToken);
        }
    }

    /// <summary>Bytes of a usable part, or null when the artifact is there already.</summary>
    private static async Task<long?> LookAsync(
        IRemoteShell shell, BoardPaths paths, string sha256, long size, CancellationToken cancellationToken)
    {
        var result = await ScriptAsync(shell, LookScript, [paths.Root, sha256, Text(size)], size, cancellationToken);
        if (!result.Succeeded)
            throw new BoardStoreException($"The store on {shell.Address} cannot be used: {result.Stderr.Trim()}");
        var lines = result.Stdout.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        if (lines is ["ready", ..])
            return null;
        var part = lines is [var line, ..] && line.StartsWith("part ", StringComparison.Ordinal)
                   && long.TryParse(line.AsSpan(5).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var bytes)
            ? bytes
            : throw new BoardStoreException($"The store on {shell.Address} gave an answer that is none of ours: {result.Stdout.Trim()}");
        part = part > size ? 0 : part;
        if (ProbeAnswer.DiskFree(lines[1..]) is { } free && free < size - part + DiskReserveBytes)
        {
            throw new BoardStoreException(
                $"{shell.Address} has {free >> 20} MiB free below {paths.Root}, {(size - part + DiskReserveBytes) >> 20} MiB are needed. " +
                $"Make room there, for example by deleting files in {paths.Store} that no matrix uses any more.");
        }

        return part;
    }

    /// <summary>False: the part's hash is wrong, and it is gone.</summary>
    private static async Task<bool> CommitAsync(
        IRemoteShell shell, BoardPaths paths, string sha256, long size, bool executable, CancellationToken cancellationToken)
    {
        string[] arguments = [paths.Root, sha256, Text(size), executable ? "0500" : "0400"];
        var result = await ScriptAsync(shell, CommitScript, arguments, size, cancellationToken);
        return result.ExitCode switch
        {
            0 => true,
            3 => false,
            _ => throw new BoardStoreException($"Artifact {sha256[..12]} could not be put in place on {shell.Address}: {result.Stderr.Trim()}"),
        };
    }

    private static async Task<BoardStoreException> WrongContentAsync(
        IRemoteShell shell, string localPath, string sha256, CancellationToken cancellationToken)
    {
        await using var file = File.OpenRead(localPath);
        var local = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
        return new BoardStoreException(local == sha256
            ? $"{localPath} arrived damaged on {shell.Address}. Check the board's storage and memory."
            : $"{localPath} has SHA-256 {local}, not {sha256} as asked: it changed or is the wrong file.");
    }

    private static Task<RemoteResult> ScriptAsync(
        IRemoteShell shell, string script, string[] arguments, long size, CancellationToken cancellationToken)
    {
        // Hashing reads the whole file; 4 MB/s is slower than any card we know.
        var timeout = RunOptions.DefaultTimeout + TimeSpan.FromSeconds(size / 4e6);
        return shell.RunAsync(["sh", "-c", HashFunction + script, "sh", .. arguments], new RunOptions { Timeout = timeout }, cancellationToken);
    }

    private static UploadProgress? Report(IProgress<PushProgress>? progress, long size) =>
        progress is null ? null : new UploadProgress(progress, size);

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private sealed class UploadProgress(IProgress<PushProgress> target, long size) : IProgress<long>
    {
        public void Report(long value) => target.Report(new PushProgress(value, size));
    }
}
