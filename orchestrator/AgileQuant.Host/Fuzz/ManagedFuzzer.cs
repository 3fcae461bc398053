using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Fuzz;

/// <summary>
/// Runs a reader over damaged files, one after the other, from a seed: the same seed makes the same files. Inputs with an
/// outcome that was not seen before join the corpus and are damaged further.
/// </summary>
internal sealed partial class ManagedFuzzer(FuzzTarget target, string seeds, string workFolder)
{
    private const int LargestCorpus = 2000;
    private const int LargestInput = 1 << 20;
    private const int MostFindings = 20;

    /// <summary>Memory that reading one input may take: a fixed part and so much for each of its bytes.</summary>
    private const long BaseMemory = 256L << 20;

    private const int MemoryPerByte = 512;

    /// <summary>Inputs are of a few KB; a reader that needs this long for one has lost its way.</summary>
    private static readonly TimeSpan Slow = TimeSpan.FromSeconds(10);

    private readonly List<byte[]> _corpus = [];
    private readonly HashSet<string> _outcomes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FuzzFinding> _findings = new(StringComparer.Ordinal);
    private readonly string _run = Path.Combine(workFolder, "run");

    /// <summary>Fuzzes until the time is up or so many inputs were run.</summary>
    /// <param name="time">How long.</param>
    /// <param name="executions">At most so many inputs; null: as many as fit.</param>
    /// <param name="seed">Chooses every mutation.</param>
    /// <param name="note">Progress for people.</param>
    /// <param name="ct">Ends early; what was found is kept.</param>
    /// <exception cref="BenchException">There are no seeds.</exception>
    public FuzzResult Run(TimeSpan time, long? executions, int seed, Action<string> note, CancellationToken ct)
    {
        Prepare(note);
        var random = new Random(seed);
        var clock = Stopwatch.StartNew();
        var said = TimeSpan.Zero;
        long done = 0;
        foreach (var (bytes, name) in Seeds())
        {
            Execute(bytes, name);
            _corpus.Add(bytes);
            done++;
        }

        using var watch = new Watchdog(Slow + Slow, $"{target.Name} did not end on {Path.Combine(_run, target.FileName)}");
        while (clock.Elapsed < time && done < (executions ?? long.MaxValue) && _findings.Count < MostFindings && !ct.IsCancellationRequested)
        {
            var input = _corpus[random.Next(_corpus.Count)];
            for (var damage = 1 + random.Next(3); damage > 0; damage--)
                input = target.Mutator.Mutate(input, _corpus[random.Next(_corpus.Count)], random);
            if (input.Length > LargestInput)
                input = input[..LargestInput];
            watch.Restart();
            if (Execute(input, null) && _corpus.Count < LargestCorpus)
                _corpus.Add(input);
            done++;
            if (clock.Elapsed - said > TimeSpan.FromSeconds(30))
            {
                said = clock.Elapsed;
                note($"{target.Name}: {done} inputs, {_outcomes.Count} outcomes, {_findings.Count} findings after {said.TotalSeconds:0} s");
            }
        }

        Directory.Delete(_run, recursive: true);
        return new FuzzResult(target.Name, "C#", done, clock.Elapsed.TotalSeconds, _outcomes.Count, _corpus.Count, [.. _findings.Values]);
    }

    /// <summary>Runs given files, for instance a finding after its repair.</summary>
    public FuzzResult Replay(IReadOnlyList<string> files)
    {
        Prepare(_ => { });
        var clock = Stopwatch.StartNew();
        foreach (var file in files)
            Execute(File.ReadAllBytes(file), Path.GetFileName(file));
        Directory.Delete(_run, recursive: true);
        return new FuzzResult(target.Name, "C#", files.Count, clock.Elapsed.TotalSeconds, _outcomes.Count, files.Count, [.. _findings.Values]);
    }

    private void Prepare(Action<string> note)
    {
        // An input that ends the process (no stack left) stays here: nothing in the process can report it.
        var last = Path.Combine(_run, target.FileName);
        if (File.Exists(last))
        {
            var kept = Path.Combine(workFolder, $"interrupted-{DateTime.UtcNow:yyyyMMdd-HHmmss}");
            File.Move(last, kept);
            note($"{target.Name}: the last run ended in the middle of an input; it is kept as {kept}");
        }

        Directory.CreateDirectory(_run);
        foreach (var companion in target.Companions)
            File.Copy(Path.Combine(seeds, "..", "model", companion), Path.Combine(_run, companion), overwrite: true);
    }

    private List<(byte[] Bytes, string Name)> Seeds()
    {
        if (!Directory.Exists(seeds) || Directory.GetFiles(seeds) is not { Length: > 0 } files)
            throw new BenchException($"{seeds} has no seeds; it belongs to the source tree, check it out again");
        return [.. files.Order(StringComparer.Ordinal).Select(f => (File.ReadAllBytes(f), Path.GetFileName(f)))];
    }

    /// <returns>true when the outcome was new.</returns>
    private bool Execute(byte[] input, string? name)
    {
        File.WriteAllBytes(Path.Combine(_run, target.FileName), input);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var clock = Stopwatch.StartNew();
        string outcome;
        try
        {
            target.Run(_run);
            outcome = "read";
        }
        catch (Exception e) when (FuzzTarget.IsRefusal(e))
        {
            outcome = Plain(e.Message);
            if (e.Message.Length > 4000)
                Found($"a message of {e.Message.Length} characters", input, name, e.Message[..400]);
        }
        catch (Exception e)
        {
            outcome = $"{e.GetType().Name} {Place(e)}";
            Found(outcome, input, name, e.ToString());
        }

        var memory = GC.GetAllocatedBytesForCurrentThread() - before;
        if (clock.Elapsed > Slow)
            Found("slow", input, name, $"{clock.Elapsed.TotalSeconds:0.0} s for {input.Length} bytes");
        if (memory > BaseMemory + (long)input.Length * MemoryPerByte)
            Found("memory", input, name, $"{memory >> 20} MiB allocated for {input.Length} bytes");
        return _outcomes.Add(outcome);
    }

    private void Found(string what, byte[] input, string? name, string details)
    {
        if (_findings.ContainsKey(what) || _findings.Count >= MostFindings)
            return;
        var file = Path.Combine(workFolder, $"finding-{Convert.ToHexStringLower(SHA256.HashData(input))[..12]}");
        File.WriteAllBytes(file, input);
        File.WriteAllText(file + ".txt", (name is null ? "" : $"seed {name}\n") + details + "\n");
        _findings[what] = new FuzzFinding(what, file);
    }

    /// <summary>First method of ours, below this class, that the exception came through. The JIT may leave the innermost out.</summary>
    private static string Place(Exception e) => (e.StackTrace ?? "").Split('\n').Select(l => l.Trim())
        .FirstOrDefault(l => l.StartsWith("at AgileQuant.", StringComparison.Ordinal) && !l.Contains(".Fuzz.", StringComparison.Ordinal))?.Split('(')[0] ?? "";

    /// <summary>A message without its numbers and quoted words: one outcome, whatever the values.</summary>
    private static string Plain(string message)
    {
        var plain = Values().Replace(message, "#");
        return plain.Length > 200 ? plain[..200] : plain;
    }

    [GeneratedRegex("'[^']*'|[^\\x20-\\x7E]+|\\S*[0-9/\\[\\]]\\S*", RegexOptions.NonBacktracking)]
    private static partial Regex Values();
}
