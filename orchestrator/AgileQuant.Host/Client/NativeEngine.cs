using System.Diagnostics;

namespace AgileQuant.Host.Client;

/// <summary>Builds the native engine from the source tree.</summary>
internal static class NativeEngine
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>What the build script can make.</summary>
    public static IReadOnlyList<string> Targets { get; } = ["linux-x64", "linux-arm64"];

    /// <summary>The root of the source tree this program was built in (or <c>BENCH_SOURCE</c>); null outside one.</summary>
    public static string? SourceTree()
    {
        if (Environment.GetEnvironmentVariable("BENCH_SOURCE") is { Length: > 0 } given)
            return given;
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "AgileQuant.Bench.sln")))
                return at.FullName;
        }

        return null;
    }

    /// <summary>The source tree, or an error that says what to do without one.</summary>
    public static string RequireSourceTree() => SourceTree() ?? throw new BenchException(
        "this needs the source tree, and this program does not run inside one; set BENCH_SOURCE to its folder");

    /// <summary>Runs engine/native/build.sh; returns the binary's path.</summary>
    public static async Task<string> BuildAsync(string target, BenchHome home, Action<string> note, CancellationToken ct)
    {
        var script = Path.Combine(RequireSourceTree(), "engine", "native", "build.sh");
        if (!File.Exists(script))
            throw new BenchException($"there is no {script}; add a prebuilt binary with `bench engine add FILE`");
        var folder = Path.Combine(home.Folder, "engines");
        Directory.CreateDirectory(folder);
        var output = Path.Combine(folder, $"aqengine-{target}");
        note($"building the engine for {target}");
        var start = new ProcessStartInfo("sh") { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (var word in (string[])[script, target, output])
            start.ArgumentList.Add(word);
        using var process = Process.Start(start) ?? throw new BenchException($"cannot run {script}");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Limit);
        try
        {
            var outputs = await Task.WhenAll(process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
            await process.WaitForExitAsync(limit.Token);
            return process.ExitCode == 0 ? output
                : throw new BenchException($"building the engine for {target} failed ({process.ExitCode}):\n{string.Join('\n', outputs).Trim()}");
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}
