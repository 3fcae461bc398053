using System.Diagnostics;
using System.Text.Json;
using AgileQuant.Agent.Protocol;
using AgileQuant.Engine;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Perf;

/// <summary>Our engine on this machine, run by timing plans as on any board (docs/engine-protocol.md).</summary>
internal sealed class OwnEngine(string program, PerfFiles files)
{
    private int _jobs;

    /// <summary>Rows of a prefill step, the plan's default.</summary>
    public const int MicroBatch = 512;

    internal sealed record Result(string Isa, IReadOnlyList<double> Prefill, IReadOnlyList<double> Generation, long PeakRss);

    /// <summary>One prefill and one generation block in one process, each with its own warm-up.</summary>
    /// <exception cref="BenchException">The engine refused or failed; its words.</exception>
    public async Task<Result> RunAsync(string sha256, string precision, int threads, int prompt, int generate, int repetitions, CancellationToken ct)
    {
        var attempt = $"perf-{Environment.ProcessId}-{++_jobs}";
        var plan = new JobPlan
        {
            Attempt = attempt,
            Kind = JobKind.Timing,
            Threads = threads,
            Context = Math.Max(prompt, generate),
            MicroBatch = MicroBatch,
            Packs = [new PlanPack(precision, sha256)],
            PromptTokens = prompt,
            GenerateTokens = generate,
            WarmupMax = 1,
            Blocks =
            [
                new PlanBlock(0, precision, BlockKind.Prefill, repetitions, repetitions),
                new PlanBlock(1, precision, BlockKind.Generate, repetitions, repetitions),
            ],
        };
        var root = Path.Combine(files.Folder, "run");
        var job = Path.Combine(root, "jobs", attempt);
        Directory.CreateDirectory(job);
        try
        {
            await File.WriteAllTextAsync(Path.Combine(job, "plan"), plan.ToText(), ct);
            var output = await PerfProcess.RunAsync(program, ["run", "--root", root, "--job", attempt, "--store", files.Store], ct);
            var result = ProtocolJson.ParseResult(await File.ReadAllBytesAsync(Path.Combine(job, "result.json"), ct));
            if (result.Blocks.Count != 2 || result.Blocks.Any(b => b.State != "done"))
                throw new BenchException($"{precision}: the engine did not finish: {output.Split('\n').LastOrDefault(l => l.Contains("\"error\"", StringComparison.Ordinal))}");
            return new Result(result.Isa ?? "", Samples(result.Blocks[0]), Samples(result.Blocks[1]), result.Blocks.Max(b => b.PeakRss ?? 0));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }

        static List<double> Samples(BlockResult block) => [.. block.Ns.Select(ns => (double)ns)];
    }

    public async Task<PerfRoofline> RooflineAsync(int threads, CancellationToken ct)
    {
        var json = ProtocolJson.ParseObject(System.Text.Encoding.UTF8.GetBytes(await PerfProcess.RunAsync(program, ["roofline", "--threads", $"{threads}"], ct)), "roofline");
        return new PerfRoofline(threads, Number("read_gb_s") ?? 0, Number("fp32_gflop_s") ?? 0, Number("bf16_gflop_s"), Number("int8_gop_s") ?? 0);

        double? Number(string name) => json.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
    }

    public async Task<EngineInfo> InfoAsync(CancellationToken ct) =>
        ProtocolJson.ParseInfo(System.Text.Encoding.UTF8.GetBytes(await PerfProcess.RunAsync(program, ["info"], ct)));

    /// <summary>
    /// Start to first token: a process that loads the pack and computes the logits of one token. The first run, which brings the
    /// file into the page cache, does not count.
    /// </summary>
    public async Task<PerfFirstToken> FirstTokenAsync(string pack, string precision, int vocabulary, int threads, CancellationToken ct)
    {
        var tokens = Path.Combine(files.Folder, "one.aqtk");
        TokenFile.Write(tokens, [1, 2], vocabulary, -1, addsBos: false);
        var runs = new List<double>();
        for (var i = 0; i <= 3; i++)
        {
            var clock = Stopwatch.StartNew();
            await PerfProcess.RunAsync(program,
                ["logits", "--model", pack, "--tokens", tokens, "--count", "1", "--out", "/dev/null", "--threads", $"{threads}"], ct);
            if (i > 0)
                runs.Add(clock.Elapsed.TotalSeconds);
        }

        return new PerfFirstToken(precision, threads, PerfStatistics.Median(runs), runs);
    }
}
