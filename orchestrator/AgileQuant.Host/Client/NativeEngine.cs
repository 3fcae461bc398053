using System.Diagnostics;

namespace AgileQuant.Host.Client;

/// <summary>Builds the native engine from the source tree.</summary>
internal static class NativeEngine
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>What the build script can make.</summary>
    public static IReadOnlyList<string> Targets { get; } = ["linux-x64", "linux-arm64"];

    /// <summary>The binary of an earlier build in the source tree; null when there is none.</summary>
    public static string? FindBuilt(string target)
    {
        var file = SourceTree.Find() is { } root ? Path.Combine(root, "engine", "native", "build", target, "aqengine") : null;
        return File.Exists(file) ? file : null;
    }

    /// <summary>Runs engine/native/build.sh; returns the binary's path, which is its last line.</summary>
    /// <exception cref="BenchException">There is no script, or it failed; the message has its output.</exception>
    public static async Task<string> BuildAsync(string target, Action<string> note, CancellationToken ct)
    {
        var script = Path.Combine(SourceTree.Require(), "engine", "native", "build.sh");
        if (!File.Exists(script))
            throw new BenchException($"there is no {script}; add a prebuilt binary with `bench engine add FILE`");
        note($"building the engine for {target}");
        var start = new ProcessStartInfo("sh") { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (var word in (string[])[script, "--target", target])
            start.ArgumentList.Add(word);
        using var process = Process.Start(start) ?? throw new BenchException($"cannot run {script}");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Limit);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var errors = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            var file = (await output).TrimEnd().Split('\n')[^1];
            return process.ExitCode == 0 && File.Exists(file) ? file
                : throw new BenchException($"building the engine for {target} failed:\n{(await errors).Trim()}");
        }
        catch (OperationCanceledException e)
        {
            process.Kill(entireProcessTree: true);
            if (ct.IsCancellationRequested)
                throw;
            throw new BenchException($"building the engine for {target} took longer than {Limit.TotalMinutes:0} minutes and was ended", e);
        }
    }
}
