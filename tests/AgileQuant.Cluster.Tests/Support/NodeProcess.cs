using System.Diagnostics;
using AgileQuant.Host;
using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;

namespace AgileQuant.Cluster.Tests.Support;

/// <summary>A node as a process of its own, with its own home, that can be killed, paused and stopped.</summary>
internal sealed class NodeProcess : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(90);
    private readonly Process _process;
    private readonly Task _logging;

    private NodeProcess(string name, BenchHome home, Process process, Task logging)
    {
        (Name, Home, _process, _logging) = (name, home, process, logging);
        Client = new BenchClient(home);
    }

    public string Name { get; }

    public BenchHome Home { get; }

    public BenchClient Client { get; }

    /// <summary>Of the process, when it has ended.</summary>
    public int ExitCode => _process.ExitCode;

    public string LogFile => Path.Combine(Home.Folder, "process.log");

    /// <summary>Starts <c>bench node</c> and waits until it answers.</summary>
    public static async Task<NodeProcess> StartAsync(string name, string home, string database, Flavour flavour, TimeSpan lease, CancellationToken ct)
    {
        Directory.CreateDirectory(home);
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, UseShellExecute = false };
        foreach (var word in (string[])[typeof(BenchCommand).Assembly.Location, "node", "--node-name", name, "--lease", lease.TotalSeconds.ToString("0.#")])
            start.ArgumentList.Add(word);
        start.Environment["BENCH_HOME"] = home;
        start.Environment["BENCH_DATABASE"] = database;
        flavour.AddTo(start.Environment!);
        var process = Process.Start(start)!;
        var log = new StreamWriter(Path.Combine(home, "process.log")) { AutoFlush = true };
        var logging = Task.WhenAll(KeepAsync(process.StandardOutput, log), KeepAsync(process.StandardError, log))
            .ContinueWith(_ => log.Dispose(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        var node = new NodeProcess(name, new BenchHome(home), process, logging);
        var watch = Stopwatch.StartNew();
        while (await NodeLauncher.TryReachAsync(node.Home, ct) is null)
        {
            if (process.HasExited || watch.Elapsed > StartLimit)
                throw new InvalidOperationException($"{name} does not start:\n{await node.LogTailAsync()}");
            await Task.Delay(100, ct);
        }

        return node;
    }

    /// <summary>kill -9.</summary>
    public async Task KillAsync(CancellationToken ct)
    {
        _process.Kill();
        await _process.WaitForExitAsync(ct);
    }

    /// <summary>SIGTERM; waits for the end.</summary>
    public async Task StopAsync(CancellationToken ct)
    {
        await SignalAsync("TERM", ct);
        await _process.WaitForExitAsync(ct).WaitAsync(TimeSpan.FromSeconds(40), ct);
    }

    public Task PauseAsync(CancellationToken ct) => SignalAsync("STOP", ct);

    public Task ContinueAsync(CancellationToken ct) => SignalAsync("CONT", ct);

    public async Task<string> LogTailAsync()
    {
        if (!File.Exists(LogFile))
            return $"{Name}: no log";
        using var reader = new StreamReader(new FileStream(LogFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        var text = await reader.ReadToEndAsync();
        return $"--- {Name}\n{(text.Length > 6000 ? text[^6000..] : text)}";
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        await _logging;
        _process.Dispose();
    }

    private async Task SignalAsync(string signal, CancellationToken ct)
    {
        using var kill = Process.Start("kill", ["-s", signal, _process.Id.ToString()]);
        await kill.WaitForExitAsync(ct);
        if (kill.ExitCode != 0)
            throw new InvalidOperationException($"kill -s {signal} of {Name} ended with {kill.ExitCode}");
    }

    private static async Task KeepAsync(StreamReader from, StreamWriter log)
    {
        while (await from.ReadLineAsync() is { } line)
        {
            lock (log)
                log.WriteLine(line);
        }
    }
}
