using System.Security.Cryptography;

namespace AgileQuant.Orchestrator.Artifacts;

/// <summary>Files named by their SHA-256 in one folder. A file is there whole or not at all; it never changes.</summary>
public sealed class ArtifactStore
{
    private readonly string _folder;
    private readonly string _scratch;

    public ArtifactStore(OrchestratorOptions options)
    {
        _folder = Path.GetFullPath(options.StoreFolder);
        _scratch = Path.GetFullPath(options.ScratchFolder);
        CreatePrivate(_folder);
        CreatePrivate(_scratch);
        RemoveLeftovers();
    }

    /// <summary>The folder itself, as <c>aqengine run --store</c> takes it.</summary>
    public string Folder => _folder;

    /// <summary>Bytes that this process may still write to the folder's file system.</summary>
    /// <exception cref="IOException">The file system does not answer.</exception>
    public long FreeBytes => new DriveInfo(_folder).AvailableFreeSpace;

    /// <summary>Where an artifact is or would be.</summary>
    public string PathOf(string sha256) => Path.Combine(_folder, sha256);

    /// <summary>Says what to do about a missing file. Its <see cref="FileNotFoundException.FileName"/> is the hash.</summary>
    /// <param name="sha256">Which.</param>
    /// <param name="folder">The store of this node.</param>
    /// <param name="origin">Name of the node that brought it into the cluster, when it is known.</param>
    public static FileNotFoundException Missing(string sha256, string folder, string? origin = null) => new(
        $"The artifact {sha256} is neither in the store {folder} of this node ({Environment.MachineName}) nor on another node that runs. "
        + (origin is null ? "" : $"It came from node {origin}: start that one. ")
        + "Packs and token files are made again by themselves; otherwise import the model, text or engine again.",
        sha256);

    public bool Contains(string sha256) => File.Exists(PathOf(sha256));

    /// <summary>A name for a new file on the store's file system. The caller deletes it when it did not become an artifact.</summary>
    public string NewTemporaryFile() => Path.Combine(_folder, $".{Guid.NewGuid():N}.part");

    /// <summary>Deletes an unfinished file, if it is still there; when its folder is gone too, the error before this one counts.</summary>
    public static void Discard(string temporaryFile)
    {
        if (File.Exists(temporaryFile))
            File.Delete(temporaryFile);
    }

    /// <summary>An empty folder for files on their way.</summary>
    public string NewScratchFolder(string name)
    {
        var path = Path.Combine(_scratch, name);
        if (Directory.Exists(path))
            Directory.Delete(path, true);
        Directory.CreateDirectory(path);
        return path;
    }

    /// <summary>Unfinished files of processes that were killed; a day old, so that nobody is still writing them.</summary>
    private void RemoveLeftovers()
    {
        var old = DateTime.UtcNow.AddDays(-1);
        foreach (var file in Directory.EnumerateFiles(_folder, ".*.part").Where(f => File.GetLastWriteTimeUtc(f) < old))
            File.Delete(file);
        foreach (var folder in Directory.EnumerateDirectories(_scratch).Where(f => Directory.GetLastWriteTimeUtc(f) < old))
            Directory.Delete(folder, true);
    }

    /// <summary>Renames a finished file, once it is on the disk, to its hash; one that is there already stays.</summary>
    public void Adopt(string temporaryFile, string sha256)
    {
        if (Contains(sha256))
        {
            File.Delete(temporaryFile);
            return;
        }

        // Else a power cut could leave the name with half of the content.
        using (var file = File.OpenHandle(temporaryFile, FileMode.Open, FileAccess.ReadWrite))
            RandomAccess.FlushToDisk(file);
        File.Move(temporaryFile, PathOf(sha256), overwrite: true);
    }

    /// <summary>For this user only: models may be confidential. A folder that is there keeps its rights.</summary>
    private static void CreatePrivate(string folder)
    {
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(folder);
        else
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Copies a user's file into the store.</summary>
    public async Task<(string Sha256, long Bytes)> CopyAsync(string path, CancellationToken ct)
    {
        var temporary = NewTemporaryFile();
        try
        {
            await using (var source = File.OpenRead(path))
            await using (var target = File.Create(temporary))
                await source.CopyToAsync(target, ct);
            return await AdoptAsync(temporary, ct);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Hashes a finished file and renames it.</summary>
    public async Task<(string Sha256, long Bytes)> AdoptAsync(string temporaryFile, CancellationToken ct)
    {
        var bytes = new FileInfo(temporaryFile).Length;
        var sha = await HashAsync(temporaryFile, ct);
        Adopt(temporaryFile, sha);
        return (sha, bytes);
    }

    /// <summary>SHA-256 of a file, lower-case hex.</summary>
    public static async Task<string> HashAsync(string path, CancellationToken ct)
    {
        await using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, ct));
    }
}
