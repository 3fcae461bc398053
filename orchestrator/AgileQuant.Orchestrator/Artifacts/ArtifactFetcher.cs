using System.Collections.Concurrent;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Artifacts;

/// <summary>
/// Artifacts by hash, wherever in the cluster they are: from this node's store, or fetched once from another live node and verified.
/// </summary>
public sealed partial class ArtifactFetcher(ArtifactStore store, NodeStore nodes, Database database, NodeIdentity node, ILogger<ArtifactFetcher> logger)
    : IDisposable
{
    private const int TriesPerPeer = 3;

    /// <summary>Two at a time: more would only share the same line.</summary>
    private readonly SemaphoreSlim _downloads = new(2);

    private readonly ConcurrentDictionary<string, SemaphoreSlim> _turns = new(StringComparer.Ordinal);

    /// <summary>Path of the artifact in this node's store, after fetching it when another node has it.</summary>
    /// <exception cref="FileNotFoundException">No live node has it; its <see cref="FileNotFoundException.FileName"/> is the hash.</exception>
    public async Task<string> PathAsync(string sha256, CancellationToken ct)
    {
        if (store.Contains(sha256))
            return store.PathOf(sha256);
        var turn = _turns.GetOrAdd(sha256, _ => new SemaphoreSlim(1));
        await turn.WaitAsync(ct);
        try
        {
            if (!store.Contains(sha256))
                await FetchAsync(sha256, ct);
            return store.PathOf(sha256);
        }
        finally
        {
            turn.Release();
        }
    }

    /// <summary>Whether this node or another live one has it.</summary>
    public async Task<bool> IsAvailableAsync(string sha256, CancellationToken ct)
    {
        if (store.Contains(sha256))
            return true;
        foreach (var peer in await nodes.PeersAsync(node, ct))
        {
            using var client = new PeerClient(peer);
            if (await client.HasAsync(sha256, ct))
                return true;
        }

        return false;
    }

    public void Dispose()
    {
        _downloads.Dispose();
        foreach (var turn in _turns.Values)
            turn.Dispose();
    }

    private async Task FetchAsync(string sha256, CancellationToken ct)
    {
        await _downloads.WaitAsync(ct);
        var part = store.NewTemporaryFile();
        try
        {
            foreach (var peer in await nodes.PeersAsync(node, ct))
            {
                if (!await TryFetchAsync(peer, sha256, part, ct))
                    continue;
                store.Adopt(part, sha256);
                LogFetched(sha256, peer.Name);
                return;
            }
        }
        finally
        {
            _downloads.Release();
            ArtifactStore.Discard(part);
        }

        var origin = await database.FirstAsync<string>("select origin from artifact where sha256 = @sha256 and origin <> ''", new { sha256 }, ct);
        throw ArtifactStore.Missing(sha256, store.Folder, origin);
    }

    /// <summary>Goes on where the last try broke off, whichever node that was: a file with this hash is the same everywhere.</summary>
    private async Task<bool> TryFetchAsync(PeerRow peer, string sha256, string part, CancellationToken ct)
    {
        using var client = new PeerClient(peer);
        for (var attempt = 1; attempt <= TriesPerPeer; attempt++)
        {
            try
            {
                if (!await client.HasAsync(sha256, ct))
                    return false;
                await client.DownloadAsync(sha256, part, ct);
                if (await ArtifactStore.HashAsync(part, ct) == sha256)
                    return true;
                LogBroken(sha256, peer.Name, "it has another content");
                File.Delete(part);
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException && !ct.IsCancellationRequested)
            {
                LogBroken(sha256, peer.Name, e.Message);
            }
        }

        return false;
    }

    [LoggerMessage(LogLevel.Information, "Artifact {Sha256} fetched from {Node}")]
    private partial void LogFetched(string sha256, string node);

    [LoggerMessage(LogLevel.Warning, "Artifact {Sha256} does not come from {Node}: {Reason}")]
    private partial void LogBroken(string sha256, string node, string reason);
}
