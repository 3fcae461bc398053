using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Fuzz;

/// <summary>Runs the engine's fuzz targets (engine/native/fuzz) with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.</summary>
internal static partial class NativeFuzzer
{
    private static readonly TimeSpan BuildLimit = TimeSpan.FromMinutes(10);

    /// <summary>Name and description; the program is fuzz-NAME without the prefix "native-".</summary>
    public static IReadOnlyList<(string Name, string Description)> Targets { get; } =
    [
        ("native-pack", "the engine: packed models, from the header to a forward pass"),
        ("native-plan", "the engine: plans"),
        ("native-tokens", "the engine: token files"),
        ("native-board", "the engine: owner file, journal and lock of a board"),
    ];

    /// <summary>Builds the targets; returns their folder.</summary>
    /// <exception cref="BenchException">There is no clang with libFuzzer, or the build failed; the message has its output.</exception>
    public static async Task<string> BuildAsync(Action<string> note, CancellationToken ct)
    {
        note("building the engine's fuzz targets");
        var script = Path.Combine(SourceTree.Require(), "engine", "native", "fuzz", "build.sh");
        var lines = new List<string>();
        var (code, output) = await RunAsync("sh", [script], Path.GetTempPath(), BuildLimit, lines.Add, ct);
        return code == 0 ? output.TrimEnd().Split('\n')[^1] : throw new BenchException($"building the fuzz targets failed:\n{string.Join('\n', lines.TakeLast(15))}");
    }

    /// <summary>Runs one target.</summary>
    /// <param name="binaries">What <see cref="BuildAsync"/> returned.</param>
    /// <param name="name">One of <see cref="Targets"/>.</param>
    /// <param name="time">How long; whole seconds.</param>
    /// <param name="seed">libFuzzer's seed.</param>
    /// <param name="workFolder">Corpus and findings.</param>
    /// <param name="note">libFuzzer's own progress, now and then.</param>
    /// <param name="ct">Ends it.</param>
    public static async Task<FuzzResult> RunAsync(
        string binaries, string name, TimeSpan time, int seed, string workFolder, Action<string> note, CancellationToken ct)
    {
        var plain = name["native-".Length..];
        var sources = Path.Combine(SourceTree.Require(), "engine", "native", "fuzz");
        var corpus = Path.Combine(workFolder, "corpus");
        var temporary = Path.Combine(workFolder, "tmp");
        Directory.CreateDirectory(corpus);
        Directory.CreateDirectory(temporary);
        List<string> arguments =
        [
            $"-max_total_time={Math.Max(1, (int)time.TotalSeconds)}", $"-seed={Math.Max(1, seed)}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
            $"-artifact_prefix={workFolder}/finding-", corpus, Path.Combine(sources, "corpus", plain),
        ];
        if (File.Exists(Path.Combine(sources, plain + ".dict")))
            arguments.Insert(0, $"-dict={Path.Combine(sources, plain + ".dict")}");
        var before = Directory.GetFiles(workFolder, "finding-*").ToHashSet(StringComparer.Ordinal);
        var (coverage, executions, error) = (0L, 0L, "");
        var clock = Stopwatch.StartNew();
        var (code, _) = await RunAsync(Path.Combine(binaries, "fuzz-" + plain), arguments, temporary, time + TimeSpan.FromMinutes(2), line =>
        {
            if (Progress().Match(line) is { Success: true } match)
            {
                executions = Math.Max(executions, long.Parse(match.Groups["runs"].Value, CultureInfo.InvariantCulture));
                coverage = Math.Max(coverage, long.Parse(match.Groups["cov"].Value, CultureInfo.InvariantCulture));
                if (line.Contains("pulse", StringComparison.Ordinal))
                    note($"{name}: {line.Trim()}");
            }
            else if (error.Length == 0 && line.Contains("ERROR: ", StringComparison.Ordinal))
            {
                error = line[(line.IndexOf("ERROR: ", StringComparison.Ordinal) + 7)..];
            }
        }, ct);
        Directory.Delete(temporary, recursive: true);
        var findings = Directory.GetFiles(workFolder, "finding-*").Where(f => !before.Contains(f))
            .Select(f => new FuzzFinding(error.Length > 0 ? error : $"exit code {code}", f)).ToList();
        if (code != 0 && findings.Count == 0)
            throw new BenchException($"{name} ended with exit code {code}: {error}");
        return new FuzzResult(name, "C", executions, clock.Elapsed.TotalSeconds, coverage, Directory.GetFiles(corpus).Length, findings);
    }

    private static async Task<(int Code, string Output)> RunAsync(
        string program, IReadOnlyList<string> arguments, string temporary, TimeSpan limit, Action<string> errorLine, CancellationToken ct)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        start.Environment["TMPDIR"] = temporary;
        using var process = Process.Start(start) ?? throw new BenchException($"cannot start {program}");
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(ct);
        bound.CancelAfter(limit);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(bound.Token);
            while (await process.StandardError.ReadLineAsync(bound.Token) is { } line)
                errorLine(line);
            await process.WaitForExitAsync(bound.Token);
            return (process.ExitCode, await output);
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new BenchException($"{Path.GetFileName(program)} took longer than {limit.TotalMinutes:0} minutes and was ended", e);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    [GeneratedRegex("^#(?<runs>[0-9]+)\\s.*cov: (?<cov>[0-9]+)", RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex Progress();
}
