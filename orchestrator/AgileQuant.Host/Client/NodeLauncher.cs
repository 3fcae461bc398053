using System.Diagnostics;
using AgileQuant.Host.Node;

namespace AgileQuant.Host.Client;

/// <summary>Starts and stops the local node in the background.</summary>
public static class NodeLauncher
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan HealthTimeout = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(150);
    private const long LogLimit = 10 << 20;

    /// <summary>Starts the node detached from this terminal and waits until it answers.</summary>
    /// <exception cref="BenchException">It ended or did not answer in time; the message has the end of its log.</exception>
    public static async Task<NodeInfo> StartAsync(NodeSettings settings, CancellationToken ct)
    {
        settings.Home.Create();
        RotateLog(settings.Home.NodeLog);
        var logStart = File.Exists(settings.Home.NodeLog) ? new FileInfo(settings.Home.NodeLog).Length : 0;
        using var process = Process.Start(Detached(settings)) ?? throw new BenchException("cannot start the node's process");
        var deadline = Stopwatch.StartNew();
        while (deadline.Elapsed < StartTimeout)
        {
            if (await TryReachAsync(settings.Home, ct) is { } info)
                return info;
            if (process.HasExited)
                throw new BenchException($"the node ended while it started:\n{Tail(settings.Home.NodeLog, logStart)}");
            await Task.Delay(Look, ct);
        }

        throw new BenchException($"the node did not answer within {StartTimeout.TotalSeconds:0} s; its log: {settings.Home.NodeLog}\n{Tail(settings.Home.NodeLog, logStart)}");
    }

    /// <summary>The running node if it answers; null otherwise.</summary>
    public static async Task<NodeInfo?> TryReachAsync(BenchHome home, CancellationToken ct)
    {
        if (NodeHost.ReadInfo(home) is not { } info || !File.Exists(home.Socket))
            return null;
        try
        {
            using var client = new BenchClient(home, HealthTimeout);
            await client.HealthAsync(ct);
            return info;
        }
        catch (BenchException)
        {
            return null;
        }
    }

    /// <summary>Stops the node whatever its state, and what it left behind. False: none ran.</summary>
    public static async Task<bool> StopAsync(BenchHome home, CancellationToken ct) =>
        await NodeStopper.StopAsync(home, _ => { }, ct) == NodeEnd.Stopped;

    /// <summary>
    /// The node in a session of its own, so that Ctrl-C in this terminal does not reach it, its output appended to the log. setsid
    /// without -f execs in place when it is no group leader; the node is our child until we end, then init's.
    /// </summary>
    private static ProcessStartInfo Detached(NodeSettings settings)
    {
        var start = new ProcessStartInfo("setsid") { UseShellExecute = false, WorkingDirectory = "/" };
        start.ArgumentList.Add("sh");
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("exec \"$@\" >>\"$0\" 2>&1 </dev/null");
        start.ArgumentList.Add(settings.Home.NodeLog);
        foreach (var word in Self())
            start.ArgumentList.Add(word);
        start.ArgumentList.Add(settings.Dashboard ? "up" : "node");
        if (settings.Dashboard)
            start.ArgumentList.Add("--foreground");
        foreach (var word in (string[])["--port", settings.Port.ToString(), "--node-name", settings.Name])
        {
            if (settings.Dashboard || (word != "--port" && word != settings.Port.ToString()))
                start.ArgumentList.Add(word);
        }

        foreach (var (name, value) in settings.ToEnvironment())
            start.Environment[name] = value;
        return start;
    }

    /// <summary>The command that runs this very program.</summary>
    private static IReadOnlyList<string> Self()
    {
        var process = Environment.ProcessPath ?? throw new BenchException("this program's own path is unknown");
        return Path.GetFileNameWithoutExtension(process) == "dotnet" ? [process, typeof(NodeLauncher).Assembly.Location] : [process];
    }

    private static void RotateLog(string log)
    {
        if (File.Exists(log) && new FileInfo(log).Length > LogLimit)
            File.Move(log, log + ".1", overwrite: true);
    }

    private static string Tail(string log, long from)
    {
        try
        {
            using var file = new FileStream(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            file.Seek(Math.Max(from, file.Length - 4000), SeekOrigin.Begin);
            return new StreamReader(file).ReadToEnd().Trim();
        }
        catch (IOException e)
        {
            return $"(no log: {e.Message})";
        }
    }
}
