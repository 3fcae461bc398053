using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Node;

/// <summary>Makes sure that one node at most uses a home. The kernel gives the lock back when the process ends, however it ends.</summary>
public sealed class NodeLock : IDisposable
{
    private readonly FileStream _file;

    private NodeLock(FileStream file) => _file = file;

    /// <summary>Takes it, past a client that only looks whether it is held.</summary>
    /// <exception cref="UserErrorException">A node runs already.</exception>
    public static async Task<NodeLock> TakeAsync(BenchHome home, CancellationToken ct)
    {
        for (var attempt = 0; attempt < 10; attempt++)
        {
            if (TryTake(home) is { } held)
                return held;
            await Task.Delay(TimeSpan.FromMilliseconds(100), ct);
        }

        throw new UserErrorException($"a node runs already for {home.Folder}; `bench status` shows it, `bench down` stops it");
    }

    /// <summary>Null when another process holds it.</summary>
    public static NodeLock? TryTake(BenchHome home)
    {
        try
        {
            return new NodeLock(new FileStream(home.Lock, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Whether a node runs for this home.</summary>
    public static bool IsHeld(BenchHome home)
    {
        if (!File.Exists(home.Lock))
            return false;
        using var taken = TryTake(home);
        return taken is null;
    }

    public void Dispose() => _file.Dispose();
}
