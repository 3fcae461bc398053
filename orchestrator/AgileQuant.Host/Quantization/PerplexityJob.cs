using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using AgileQuant.Engine;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Quantization;

/// <summary>Scores packs with the native engine on this machine: one perplexity job in a folder of its own (docs/engine-protocol.md).</summary>
internal static class PerplexityJob
{
    private static readonly TimeSpan Limit = TimeSpan.FromHours(12);

    /// <param name="engine">The binary.</param>
    /// <param name="folder">An empty folder for the job.</param>
    /// <param name="packs">Name, SHA-256 and file of each pack.</param>
    /// <param name="tokens">Token file: SHA-256 and path.</param>
    /// <param name="convention">How windows are scored.</param>
    /// <param name="windows">The first so many.</param>
    /// <param name="ct">Ends the engine.</param>
    /// <returns>For each pack, in order: NLLs <c>[windows][targets]</c>, and survivor flags of a pruned pack.</returns>
    /// <exception cref="BenchException">The engine failed; the message has its output.</exception>
    public static async Task<IReadOnlyList<(float[][] Nlls, byte[]? Survivors)>> RunAsync(
        string engine, string folder, IReadOnlyList<(string Name, string Sha256, string Path)> packs, (string Sha256, string Path) tokens,
        PerplexityConvention convention, int windows, CancellationToken ct)
    {
        var job = Path.Combine(folder, "jobs", "ablate");
        var store = Path.Combine(folder, "store");
        Directory.CreateDirectory(job);
        Directory.CreateDirectory(store);
        foreach (var (sha256, path) in packs.Select(p => (p.Sha256, p.Path)).Append(tokens).DistinctBy(f => f.Item1))
            File.CreateSymbolicLink(Path.Combine(store, sha256), path);
        var plan = new List<string>
        {
            "agilequant-plan 1", "attempt ablate", "kind perplexity", $"threads {Environment.ProcessorCount}", "isa auto",
            $"context {convention.N}", $"ubatch {convention.N}",
        };
        plan.AddRange(packs.Select(p => $"pack {p.Name} {p.Sha256}"));
        plan.AddRange([$"tokens {tokens.Sha256}", $"convention {convention.Kind} {convention.N}", $"windows 0 {windows}"]);
        plan.AddRange(["telemetry-ms 1000", "warmup-max 1", "target-spread 0.5"]);
        plan.AddRange(packs.Select((p, i) => $"block {i} {p.Name} perplexity 1 1"));
        await File.WriteAllTextAsync(Path.Combine(job, "plan"), string.Concat(plan.Select(l => l + "\n")), ct);
        await RunEngineAsync(engine, folder, ct);
        return [.. packs.Select((p, i) => Read(job, p.Name, i, convention.Targets, windows))];
    }

    private static (float[][] Nlls, byte[]? Survivors) Read(string job, string name, int block, int targets, int windows)
    {
        var file = Path.Combine(job, string.Create(CultureInfo.InvariantCulture, $"nll-{block}.f32"));
        if (!File.Exists(file))
        {
            var said = File.ReadLines(Path.Combine(job, "events.jsonl")).LastOrDefault(l => l.Contains("\"error\"", StringComparison.Ordinal));
            throw new BenchException($"the engine did not score {name}: {said ?? "it wrote no error"}");
        }

        var values = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(file)).ToArray();
        if (values.Length != windows * targets)
            throw new BenchException($"the engine scored {values.Length} targets of {name}; {windows * targets} were asked for");
        var survivors = Path.Combine(job, string.Create(CultureInfo.InvariantCulture, $"survivors-{block}.u8"));
        return ([.. values.Chunk(targets)], File.Exists(survivors) ? File.ReadAllBytes(survivors) : null);
    }

    private static async Task RunEngineAsync(string engine, string folder, CancellationToken ct)
    {
        var start = new ProcessStartInfo(engine) { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (var word in (string[])["run", "--root", folder, "--job", "ablate"])
            start.ArgumentList.Add(word);
        using var process = Process.Start(start) ?? throw new BenchException($"cannot run {engine}");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Limit);
        try
        {
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
            await process.WaitForExitAsync(limit.Token);
            await output;
            if (process.ExitCode != 0)
                throw new BenchException($"the engine ended with {process.ExitCode}: {(await errors).Trim()}");
        }
        catch (OperationCanceledException e)
        {
            process.Kill(entireProcessTree: true);
            if (ct.IsCancellationRequested)
                throw;
            throw new BenchException($"scoring took longer than {Limit.TotalHours:0} hours and was ended; score fewer windows", e);
        }
    }
}
