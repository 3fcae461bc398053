using AgileQuant.Engine;
using AgileQuant.Engine.Gguf;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Measurement;

namespace AgileQuant.Host.Perf;

/// <summary>What to measure.</summary>
/// <param name="Model">Canonical GGUF.</param>
/// <param name="Name">What people call it.</param>
/// <param name="Precisions">Ours, in order.</param>
/// <param name="Threads">Numbers of threads, each measured.</param>
/// <param name="Repetitions">Counted repetitions a block.</param>
/// <param name="Rounds">How often all take their turn.</param>
/// <param name="Against">Other engines; none: only ours.</param>
/// <param name="Ggufs">Their files by type; what is missing is made with llama-quantize.</param>
internal sealed record EnginePerfRequest(
    string Model, string Name, IReadOnlyList<Precision> Precisions, IReadOnlyList<int> Threads, int Prompt, int Generate, int Repetitions, int Rounds,
    IReadOnlyList<LlamaBench> Against, IReadOnlyDictionary<string, string> Ggufs);

/// <summary>Measures our engine on this machine, and others beside it: each in turn, block by block, in rounds that go forth and back.</summary>
internal sealed class EnginePerf(EnginePerfRequest request, OwnEngine engine, PerfFiles files, Action<string> note)
{
    private const string Ours = "ours";

    private sealed record Contender(string Engine, string Weights, string ComputedAs, Func<int, CancellationToken, Task<(IReadOnlyList<double> Prefill, IReadOnlyList<double> Generation)>> RunAsync);

    private readonly Dictionary<(string Engine, string Weights, string ComputedAs, int Threads, PerfPhase Phase), List<IReadOnlyList<double>>> _speeds = [];
    private readonly Dictionary<string, PackWork> _work = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Precision, int Threads), long> _peaks = [];
    private readonly Dictionary<string, string> _versions = new(StringComparer.Ordinal);
    private readonly List<string> _notes = [];
    private string _isa = "";

    /// <exception cref="BenchException">Nothing could be measured, or the model has no such positions.</exception>
    public async Task<EnginePerfReport> RunAsync(CancellationToken ct)
    {
        CheckPositions();
        var info = await engine.InfoAsync(ct);
        var contenders = await ContendersAsync(info.Kernels.ContainsKey("bf16"), ct);
        var limits = new List<PerfRoofline>();
        for (var round = 0; round < request.Rounds; round++)
        {
            foreach (var threads in request.Threads)
            {
                limits.Add(await engine.RooflineAsync(threads, ct)); // each round: a virtual machine's memory changes its speed
                foreach (var contender in PerfStatistics.Order(contenders, round).ToList())
                    await TurnAsync(contender, contenders, threads, round, ct);
            }
        }

        if (_speeds.Count == 0)
            throw new BenchException($"nothing could be measured: {string.Join("; ", _notes)}");
        var rooflines = limits.GroupBy(l => l.Threads).Select(Median).ToList();
        var figures = Figures(rooflines);
        return new EnginePerfReport(
            request.Name, _isa, info.Cpu, DateTimeOffset.UtcNow, request.Prompt, request.Generate, request.Rounds,
            [.. request.Against.Select(a => $"{a.Name} {_versions.GetValueOrDefault(a.Name)}".TrimEnd())], rooflines, figures, Ratios(figures),
            [.. _peaks.Select(p => new PerfMemory(p.Key.Precision, p.Key.Threads, p.Value, _work[p.Key.Precision].MemoryGoal(Math.Max(request.Prompt, request.Generate), OwnEngine.MicroBatch)))],
            await FirstTokenAsync(ct), _notes);
    }

    /// <summary>A model with learned positions has none beyond its own, whatever the engine.</summary>
    private void CheckPositions()
    {
        using var model = GgufFile.Open(request.Model);
        if (model.Find("position_embd.weight") is not { } positions || Math.Max(request.Prompt, request.Generate) <= positions.Rows)
            return;
        throw new BenchException(
            $"{request.Name} has learned positions for {positions.Rows} tokens and none beyond: give --prompt and --generate of at most {positions.Rows}");
    }

    /// <summary>Ours, each followed by the others with the same kind of weights.</summary>
    private async Task<List<Contender>> ContendersAsync(bool cpuHasBf16, CancellationToken ct)
    {
        var contenders = new List<Contender>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var precision in request.Precisions)
        {
            AddOurs(contenders, precision, ct);
            var type = LlamaBench.TypeFor(precision.Base.ToString());
            if (request.Against.Count == 0 || !seen.Add(type))
                continue;
            var file = request.Ggufs.GetValueOrDefault(type) ?? await files.QuantizedAsync(request.Model, type, request.Against, ct);
            foreach (var other in request.Against)
            {
                var computedAs = other.ComputedAs(type, cpuHasBf16);
                if (computedAs != type)
                    _notes.Add($"{other.Name} {type} is compared with our bf16: its -rtr rounds the weights to bf16 and multiplies so");
                contenders.Add(new Contender(other.Name, type, computedAs, async (threads, token) =>
                {
                    var result = await other.RunAsync(file, threads, request.Prompt, request.Generate, request.Repetitions, token);
                    _versions[other.Name] = result.Version;
                    return (result.Prefill, result.Generation);
                }));
            }
        }

        return contenders;
    }

    private void AddOurs(List<Contender> contenders, Precision precision, CancellationToken ct)
    {
        var name = precision.ToString();
        try
        {
            var (path, sha256) = files.Pack(request.Model, precision, ct);
            _work[name] = PackWork.Read(path);
            contenders.Add(new Contender(Ours, name, LlamaBench.TypeFor(precision.Base.ToString()), async (threads, token) =>
            {
                var result = await engine.RunAsync(sha256, name, threads, request.Prompt, request.Generate, request.Repetitions, token);
                _isa = result.Isa;
                _peaks[(name, threads)] = Math.Max(_peaks.GetValueOrDefault((name, threads)), result.PeakRss);
                return (result.Prefill, result.Generation);
            }));
        }
        catch (BenchException e)
        {
            _notes.Add($"{name} is left out: {e.Message}");
        }
    }

    private async Task TurnAsync(Contender contender, List<Contender> contenders, int threads, int round, CancellationToken ct)
    {
        try
        {
            var (prefill, generation) = await contender.RunAsync(threads, ct);
            double[] rates = [.. prefill.Select(ns => request.Prompt * 1e9 / ns)], steps = [.. generation.Select(ns => request.Generate * 1e9 / ns)];
            Add(PerfPhase.Prefill, rates);
            Add(PerfPhase.Generation, steps);
            note($"round {round + 1}, {threads} threads: {contender.Engine} {contender.Weights} "
                 + $"{PerfStatistics.Median(rates):0.0} / {PerfStatistics.Median(steps):0.0} tokens a second");
        }
        catch (BenchException e)
        {
            _notes.Add($"{contender.Engine} {contender.Weights} is left out: {e.Message}");
            note(_notes[^1]);
            contenders.Remove(contender);
        }

        void Add(PerfPhase phase, double[] speeds)
        {
            var key = (contender.Engine, contender.Weights, contender.ComputedAs, threads, phase);
            if (!_speeds.TryGetValue(key, out var rounds))
                _speeds[key] = rounds = [];
            rounds.Add(speeds);
        }
    }

    private List<PerfFigure> Figures(List<PerfRoofline> rooflines) =>
    [
        .. _speeds.Select(s =>
        {
            double[] all = [.. s.Value.SelectMany(r => r)];
            var median = PerfStatistics.Median(all);
            var share = s.Key.Engine == Ours
                ? Share(_work[s.Key.Weights], rooflines.First(r => r.Threads == s.Key.Threads), s.Key.Phase, median, request.Generate)
                : null;
            return new PerfFigure(s.Key.Engine, s.Key.Weights, s.Key.ComputedAs, s.Key.Threads, s.Key.Phase, median, PerfStatistics.SpreadPercent(all),
                [.. s.Value.Select(PerfStatistics.Median)], share);
        }),
    ];

    /// <summary>Share of what the machine can do: multiply-adds of the linears in prefill, bytes read in generation.</summary>
    internal static double? Share(PackWork work, PerfRoofline roofline, PerfPhase phase, double tokensPerSecond, int generate)
    {
        if (phase == PerfPhase.Generation)
            return roofline.ReadGbPerSecond > 0 ? work.GenerationBytes((generate - 1) / 2.0) * tokensPerSecond / (roofline.ReadGbPerSecond * 1e9) : null;
        var rate = work.WeightBits < 16 ? roofline.Int8GopPerSecond : work.IsBf16 ? roofline.Bf16GflopPerSecond : roofline.Fp32GflopPerSecond;
        return rate > 0 ? 2.0 * work.MultiplyAdds * tokensPerSecond / (rate * 1e9) : null;
    }

    private static PerfRoofline Median(IGrouping<int, PerfRoofline> rounds)
    {
        return new PerfRoofline(rounds.Key, Of(r => r.ReadGbPerSecond)!.Value, Of(r => r.Fp32GflopPerSecond)!.Value, Of(r => r.Bf16GflopPerSecond), Of(r => r.Int8GopPerSecond)!.Value);

        double? Of(Func<PerfRoofline, double?> rate) => rounds.Select(rate).OfType<double>().ToList() is { Count: > 0 } rates ? PerfStatistics.Median(rates) : null;
    }

    /// <summary>Ours over the engine with the best median and the same arithmetic, in the rounds that both ran.</summary>
    internal static List<PerfRatio> Ratios(IReadOnlyList<PerfFigure> figures)
    {
        var ratios = new List<PerfRatio>();
        foreach (var own in figures.Where(f => f.Engine == Ours))
        {
            var best = figures.Where(f => f.Engine != Ours && f.ComputedAs == own.ComputedAs && f.Threads == own.Threads && f.Phase == own.Phase)
                .MaxBy(f => f.TokensPerSecond);
            if (best is null)
                continue;
            var pairs = own.Rounds.Zip(best.Rounds).ToList();
            if (Speedup.Of(pairs) is { } ratio)
            {
                ratios.Add(new PerfRatio(own.Weights, own.Threads, own.Phase, $"{best.Engine} {best.Weights}", ratio.Ratio,
                    ratio.Low ?? pairs.Min(p => p.First / p.Second), ratio.High ?? pairs.Max(p => p.First / p.Second)));
            }
        }

        return ratios;
    }

    private async Task<PerfFirstToken?> FirstTokenAsync(CancellationToken ct)
    {
        if (!_work.ContainsKey("w4a8"))
            return null;
        var (pack, _) = files.Pack(request.Model, Precision.W4A8, ct);
        int vocabulary;
        using (var file = GgufFile.Open(pack))
            vocabulary = (int)file.Tensor("token_embd.weight").Rows;
        return await engine.FirstTokenAsync(pack, "w4a8", vocabulary, request.Threads.Max(), ct);
    }
}
