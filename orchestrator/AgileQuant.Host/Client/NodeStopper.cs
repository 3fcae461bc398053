using System.Diagnostics;
using System.Globalization;
using AgileQuant.Host.Boards;
using AgileQuant.Host.Node;
using AgileQuant.Infra.Postgres;

namespace AgileQuant.Host.Client;

/// <summary>What <see cref="NodeStopper.StopAsync"/> found and did.</summary>
public enum NodeEnd { NoneRan, Stopped, LeftoversStopped }

/// <summary>
/// Ends the node of a home, also one that hangs, and what a node that died left behind: its Postgres and the sshds of this
/// machine's boards. What runs detached on boards goes on.
/// </summary>
public static class NodeStopper
{
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan TermLimit = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan KillLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(150);

    /// <summary>Asks the node to stop; ends its process when it does not answer or does not end; then stops what is left.</summary>
    /// <exception cref="BenchException">It cannot be ended; the message names the process.</exception>
    public static async Task<NodeEnd> StopAsync(BenchHome home, Action<string> note, CancellationToken ct)
    {
        var held = NodeLock.IsHeld(home);
        if (held && !(await AskAsync(home, ct) && await IsGoneAsync(home, StopLimit, ct)))
            await EndProcessAsync(home, note, ct);
        var leftovers = await StopLeftoversAsync(home, ct);
        return held ? NodeEnd.Stopped : leftovers ? NodeEnd.LeftoversStopped : NodeEnd.NoneRan;
    }

    private static async Task<bool> AskAsync(BenchHome home, CancellationToken ct)
    {
        try
        {
            using var client = new BenchClient(home, AnswerLimit);
            await client.StopNodeAsync(ct);
            return true;
        }
        catch (BenchException)
        {
            return false;
        }
    }

    private static async Task EndProcessAsync(BenchHome home, Action<string> note, CancellationToken ct)
    {
        if (Holder(home) is not { } pid)
        {
            if (await IsGoneAsync(home, TimeSpan.Zero, ct))
                return;
            throw new BenchException($"a node of another user holds {home.Lock} and does not answer; that user can end it");
        }

        note($"the node does not end by itself: ending its process {pid}");
        await SignalAsync(pid, "TERM", ct);
        if (await IsGoneAsync(home, TermLimit, ct))
            return;
        await SignalAsync(pid, "KILL", ct);
        if (!await IsGoneAsync(home, KillLimit, ct))
            throw new BenchException($"the node's process {pid} cannot be ended; its log is {home.NodeLog}");
    }

    /// <summary>Stops Postgres and boards under the lock, so that a node that starts now waits and starts its own.</summary>
    private static async Task<bool> StopLeftoversAsync(BenchHome home, CancellationToken ct)
    {
        if (!Directory.Exists(home.RunFolder) || NodeLock.TryTake(home) is not { } taken)
            return false; // nothing was ever here, or another node has just started: what runs is its own
        using (taken)
        {
            File.Delete(home.NodeFile);
            var boards = await LocalBoards.StopAsync(home, ct);
            return await EmbeddedPostgres.StopAsync(home.PostgresFolder, cancellation: ct) || boards > 0;
        }
    }

    private static async Task<bool> IsGoneAsync(BenchHome home, TimeSpan limit, CancellationToken ct)
    {
        var waited = Stopwatch.StartNew();
        while (NodeLock.IsHeld(home))
        {
            if (waited.Elapsed >= limit)
                return false;
            await Task.Delay(Look, ct);
        }

        return true;
    }

    /// <summary>The process of ours that has the lock's file open; what a node wrote about itself may be stale or missing.</summary>
    private static int? Holder(BenchHome home)
    {
        var file = new FileInfo(home.Lock);
        var path = file.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? file.FullName;
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(process), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                && pid != Environment.ProcessId && HasOpen(process, path))
            {
                return pid;
            }
        }

        return null;
    }

    private static bool HasOpen(string process, string path)
    {
        try
        {
            return Directory.EnumerateFileSystemEntries(Path.Combine(process, "fd")).Any(fd => new FileInfo(fd).LinkTarget == path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // it ended meanwhile, or is another user's
        }
    }

    private static async Task SignalAsync(int pid, string signal, CancellationToken ct)
    {
        using var kill = Process.Start(new ProcessStartInfo("sh", ["-c", "kill -s \"$1\" \"$2\"", "sh", signal, pid.ToString(CultureInfo.InvariantCulture)])
        {
            UseShellExecute = false,
            RedirectStandardError = true, // it may have ended meanwhile
        });
        await kill!.WaitForExitAsync(ct);
    }
}
