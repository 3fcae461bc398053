using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Artifacts;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>What the engine left after a plan ran on this node.</summary>
public sealed record LocalRun(EngineResult Result, string JobFolder);

/// <summary>Runs a plan on this machine with the engine of its own target, as a child process.</summary>
public sealed class LocalEngine(ArtifactStore store, ArtifactFetcher artifacts)
{
    /// <summary>The engine target of this machine; null when there is none.</summary>
    public static string? Target => (OperatingSystem.IsLinux(), RuntimeInformation.ProcessArchitecture) switch
    {
        (true, Architecture.X64) => "linux-x64",
        (true, Architecture.Arm64) => "linux-arm64",
        _ => null,
    };

    /// <summary>Runs to the end; cancellation kills the engine.</summary>
    /// <param name="engineSha256">Engine, fetched when it is on another node.</param>
    /// <param name="plan">What to do; packs and tokens are read from the artifact store.</param>
    /// <param name="root">An empty folder for the job.</param>
    /// <param name="onEvent">Called for each journal event.</param>
    /// <param name="ct">Kills the engine.</param>
    /// <exception cref="InvalidOperationException">The engine failed; the message has its own words.</exception>
    public async Task<LocalRun> RunAsync(string engineSha256, JobPlan plan, string root, Action<EngineEvent> onEvent, CancellationToken ct)
    {
        var job = Path.Combine(root, "jobs", plan.Attempt);
        Directory.CreateDirectory(job);
        await File.WriteAllTextAsync(Path.Combine(job, "plan"), plan.ToText(), ct);
        var engine = await artifacts.PathAsync(engineSha256, ct);
        MakeExecutable(engine);
        var start = new ProcessStartInfo(engine) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false, WorkingDirectory = root };
        foreach (var argument in new[] { "run", "--root", root, "--job", plan.Attempt, "--store", store.Folder })
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new InvalidOperationException($"cannot start {engine}");
        try
        {
            var errors = ReadTailAsync(process.StandardError, ct);
            while (await process.StandardOutput.ReadLineAsync(ct) is { } line)
                onEvent(ProtocolJson.ParseEvent(Encoding.UTF8.GetBytes(line)));
            await process.WaitForExitAsync(ct);
            var message = await errors;
            if (process.ExitCode != 0)
                throw new InvalidOperationException($"the engine ended with {process.ExitCode}: {message.Trim()}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }

        return new LocalRun(ProtocolJson.ParseResult(await File.ReadAllBytesAsync(Path.Combine(job, "result.json"), ct)), job);
    }

    /// <summary>Why this machine cannot run a pack of this precision; null: it can.</summary>
    public async Task<string?> WhyNotAsync(string engineSha256, string precision, CancellationToken ct)
    {
        if (!Domain.PrecisionNames.IsBf16(precision))
            return null;
        var engine = await artifacts.PathAsync(engineSha256, ct);
        MakeExecutable(engine);
        return Domain.PrecisionNames.WhyNot(precision, await EngineIdentity.PrecisionsAsync(engine, ct));
    }

    private static void MakeExecutable(string path)
    {
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, File.GetUnixFileMode(path) | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
    }

    private static async Task<string> ReadTailAsync(StreamReader reader, CancellationToken ct)
    {
        var tail = new Queue<string>();
        while (await reader.ReadLineAsync(ct) is { } line)
        {
            tail.Enqueue(line);
            if (tail.Count > 20)
                tail.Dequeue();
        }

        return string.Join(" ", tail);
    }
}
