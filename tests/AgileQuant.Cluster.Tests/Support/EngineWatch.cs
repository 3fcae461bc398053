using System.Collections.Concurrent;

namespace AgileQuant.Cluster.Tests.Support;

/// <summary>
/// Looks many times a second, from outside, which engines run on the boards: a running engine holds the lock of its job. Keeps the
/// most that ran on one board at once, and every attempt that was seen.
/// </summary>
internal sealed class EngineWatch : IAsyncDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(25);

    /// <summary>A start that is refused holds the lock for a moment; an engine holds it in both of two looks.</summary>
    private static readonly TimeSpan SecondLook = TimeSpan.FromMilliseconds(5);

    private readonly IReadOnlyList<string> _homes;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watching;
    private readonly ConcurrentDictionary<string, int> _most = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, byte> _seen = new(StringComparer.Ordinal);

    /// <param name="homes">Home folders of the boards.</param>
    public EngineWatch(IReadOnlyList<string> homes)
    {
        _homes = homes;
        _watching = Task.Run(WatchAsync);
    }

    /// <summary>The most engines that ran on one board at once.</summary>
    public int MostAtOnce => _most.IsEmpty ? 0 : _most.Values.Max();

    /// <summary>Attempts whose engines were seen running.</summary>
    public IReadOnlyCollection<string> Attempts => [.. _seen.Keys];

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _stop.Dispose();
    }

    private async Task WatchAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            foreach (var home in _homes)
            {
                var running = Running(home);
                if (running.Count > 1)
                {
                    await Task.Delay(SecondLook);
                    running.IntersectWith(Running(home));
                }

                foreach (var attempt in running)
                    _seen[attempt] = 0;
                _most.AddOrUpdate(home, running.Count, (_, before) => Math.Max(before, running.Count));
            }

            await Task.Delay(Pause);
        }
    }

    private static HashSet<string> Running(string home)
    {
        var jobs = new DirectoryInfo(Path.Combine(home, ".agilequant", "jobs"));
        return jobs.Exists ? [.. jobs.EnumerateDirectories().Where(j => IsHeld(Path.Combine(j.FullName, "lock"))).Select(j => j.Name)] : [];
    }

    /// <summary>Asks as the engine itself does: by a shared lock for a moment, which .NET takes when it opens a file.</summary>
    private static bool IsHeld(string path)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            return false;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false; // cleaned away in this moment
        }
        catch (IOException)
        {
            return true;
        }
    }
}
