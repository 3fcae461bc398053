using System.CommandLine;
using System.Text.Json;
using AgileQuant.Engine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Host.Perf;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Measurement;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>perf engine: the native engine on this machine, alone or beside others (docs/measurement.md).</summary>
internal static class PerfEngineCommand
{
    private const int MostTokens = 1 << 16;

    private sealed record Options(
        Argument<string?> Model, Option<string?> Shape, Option<int> Prompt, Option<int> Generate, Option<int> Rounds, Option<int> Repetitions,
        Option<string[]> Precisions, Option<int[]> Threads, Option<string[]> Against, Option<string[]> Ggufs, Option<string?> Engine);

    public static Command Create()
    {
        var command = BenchCommand.Make("engine",
            "Measures the native engine on this machine: prefill and generation in every precision at one and all threads, shares of what the machine can do, "
            + "memory, start to first token; and the same work in other engines, in turn, as ratios.",
            "bench perf engine --shape tinyllama-1.1b --against \"ik=/opt/ik/bin/llama-bench -rtr 1\" --against llama.cpp=/opt/llama/bin/llama-bench");
        var options = new Options(
            new("model") { Description = "A Hugging Face folder or a .gguf file; or give --shape.", Arity = ArgumentArity.ZeroOrOne },
            new("--shape") { Description = $"Random weights of a known shape: {string.Join(", ", RandomModelShape.Presets.Keys)}." },
            new("--prompt") { Description = "Tokens of a prefill.", DefaultValueFactory = _ => 512 },
            new("--generate") { Description = "Tokens of a generation.", DefaultValueFactory = _ => 128 },
            new("--rounds") { Description = "How often all take their turn.", DefaultValueFactory = _ => Speedup.LeastPairs },
            new("--repetitions") { Description = "Counted repetitions a turn; one or more before do not count.", DefaultValueFactory = _ => 2 },
            new("--precisions") { Description = "Ours; default: all bases.", AllowMultipleArgumentsPerToken = true },
            new("--threads") { Description = "Numbers of threads; default: 1 and all.", AllowMultipleArgumentsPerToken = true },
            new("--against") { Description = "Another engine: NAME=PATH of its llama-bench, with options behind the path. May be given several times." },
            new("--gguf") { Description = "A file for the other engines: TYPE=FILE with F16, BF16, Q8_0 or Q4_0; what is missing is made by the llama-quantize beside llama-bench.", AllowMultipleArgumentsPerToken = true },
            new("--engine") { Description = "Our engine's binary; default: built from the source tree." });
        command.Add(options.Model);
        foreach (var option in (Option[])[
                     options.Shape, options.Prompt, options.Generate, options.Rounds, options.Repetitions, options.Precisions, options.Threads, options.Against,
                     options.Ggufs, options.Engine])
        {
            command.Add(option);
        }

        command.Validators.Add(result =>
        {
            if (result.GetValue(options.Model) is null == result.GetValue(options.Shape) is null)
                result.AddError("give a model, or --shape NAME for random weights");
        });
        command.Handle((parse, io, ct) => RunAsync(parse, options, io, ct));
        return command;
    }

    private static async Task<int> RunAsync(ParseResult parse, Options options, CliIo io, CancellationToken ct)
    {
        var files = new PerfFiles(Path.Combine(io.Home.Folder, "perf"), io.Note);
        var request = Request(parse, options, files, ct);
        var program = parse.GetValue(options.Engine) is { } given
            ? Path.GetFullPath(given)
            : await NativeEngine.BuildAsync(LocalEngine.Target ?? throw new BenchException("there is no engine for this machine; give --engine"), io.Note, ct);
        var report = await new EnginePerf(request, new OwnEngine(program, files), files, io.Note).RunAsync(ct);
        if (Unsteady(report) is { } ratio)
        {
            io.Note($"not recorded: {ratio.Precision} {ratio.Phase} is only known to lie between {ratio.Low:0.00} and {ratio.High:0.00} of {ratio.Best}; "
                    + $"measure on an idle machine, or in {Speedup.LeastPairs} rounds or more");
        }
        else if (Comparison(report) is { } comparison)
        {
            var path = Path.Combine(files.Folder, $"engine-{report.Isa}.json");
            await File.WriteAllTextAsync(path, JsonSerializer.Serialize(comparison, ApiJson.Indented), ct);
            io.Note($"recorded in {path}; reports say from it how fast the baseline is");
        }

        io.Result(report, r => Draw(io, r));
        return 0;
    }

    private static EnginePerfRequest Request(ParseResult parse, Options options, PerfFiles files, CancellationToken ct)
    {
        var (prompt, generate, rounds, repetitions) =
            (parse.GetValue(options.Prompt), parse.GetValue(options.Generate), parse.GetValue(options.Rounds), parse.GetValue(options.Repetitions));
        if (prompt is < 1 or > MostTokens || generate is < 1 or > MostTokens || rounds is < 1 or > 100 || repetitions is < 1 or > 100)
            throw new BenchException($"--prompt and --generate go from 1 to {MostTokens}, --rounds and --repetitions from 1 to 100");
        var threads = parse.GetValue(options.Threads) is { Length: > 0 } chosen ? chosen : [.. new[] { 1, Environment.ProcessorCount }.Distinct()];
        if (threads.Any(t => t is < 1 or > 256))
            throw new BenchException("--threads go from 1 to 256");
        var against = (parse.GetValue(options.Against) ?? []).Select(LlamaBench.Parse).ToList();
        if (against.Select(a => a.Name).Append("ours").Distinct(StringComparer.Ordinal).Count() != against.Count + 1)
            throw new BenchException("every engine given with --against needs a name of its own, and not 'ours'");
        var (model, name) = parse.GetValue(options.Shape) is { } shape
            ? (files.RandomModel(shape, ct), $"{shape} shape, random weights")
            : (files.Imported(parse.GetValue(options.Model)!, ct), Path.GetFileName(parse.GetValue(options.Model)!.TrimEnd('/')));
        return new EnginePerfRequest(
            model, name, Precisions(parse.GetValue(options.Precisions)), [.. threads.Distinct()], prompt, generate, repetitions, rounds, against,
            (parse.GetValue(options.Ggufs) ?? []).Select(Gguf).ToDictionary(g => g.Type, g => g.File, StringComparer.Ordinal));
    }

    private static List<Precision> Precisions(string[]? given)
    {
        try
        {
            return given is { Length: > 0 } ? [.. given.SelectMany(g => g.Split(',')).Select(Precision.Parse)] : [.. Precision.Bases];
        }
        catch (FormatException e)
        {
            throw new BenchException(e.Message, e);
        }
    }

    private static (string Type, string File) Gguf(string text)
    {
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        var (type, file) = equals > 0 ? (text[..equals].ToUpperInvariant(), Path.GetFullPath(text[(equals + 1)..])) : ("", "");
        return type is not ("F16" or "BF16" or "Q8_0" or "Q4_0") ? throw new BenchException($"'{text}': write TYPE=FILE with F16, BF16, Q8_0 or Q4_0")
            : File.Exists(file) ? (type, file) : throw new BenchException($"there is no file {file}");
    }

    /// <summary>
    /// A ratio that moved by more than 30% between rounds that are too few for an interval: nothing can be said from it. An interval, however
    /// wide, says itself how much is known, and is recorded.
    /// </summary>
    internal static PerfRatio? Unsteady(EnginePerfReport report) =>
        report.Rounds < Speedup.LeastPairs ? report.Ratios.FirstOrDefault(r => r.High > r.Low * 1.3) : null;

    /// <summary>What reports need of it; null when nothing was compared.</summary>
    internal static EngineComparison? Comparison(EnginePerfReport report)
    {
        if (report.Ratios.Count == 0)
            return null;
        var threads = report.Ratios.Max(r => r.Threads);
        return new EngineComparison(
            EngineComparison.FormatVersion, report.Isa, report.Cpu, report.MeasuredAt, report.Model, threads, report.Against,
            report.Ratios.Where(r => r.Threads == threads).GroupBy(r => r.Precision).ToDictionary(g => g.Key, g => Ratio(g)));

        static EngineRatio Ratio(IEnumerable<PerfRatio> ratios)
        {
            var (prefill, generation) = (ratios.FirstOrDefault(r => r.Phase == PerfPhase.Prefill), ratios.FirstOrDefault(r => r.Phase == PerfPhase.Generation));
            return new EngineRatio(prefill?.Ratio, generation?.Ratio, prefill?.High, generation?.High);
        }
    }

    private static void Draw(CliIo io, EnginePerfReport report)
    {
        io.Say($"{report.Model} on {report.Cpu} ({report.Isa}): prefill {report.Prompt}, generation {report.Generate} tokens, {report.Rounds} rounds; tokens a second, median and MAD");
        foreach (var r in report.Rooflines)
            io.Say($"this machine with {r.Threads} threads: reads {r.ReadGbPerSecond:0.0} GB/s, multiplies {r.Fp32GflopPerSecond:0} GFLOP/s fp32, {(r.Bf16GflopPerSecond is { } b ? $"{b:0} bf16, " : "")}{r.Int8GopPerSecond:0} GOP/s int8");
        var table = Tables.New("Threads", "Engine", "Weights", "Prefill", "of the multiply rate", "Ours / best", "Generation", "of the bandwidth", "Ours / best");
        foreach (var row in report.Figures.GroupBy(f => (f.Threads, f.Engine, f.Weights)))
        {
            table.AddRow(Tables.Cells([
                $"{row.Key.Threads}", row.Key.Engine, row.Key.Weights, .. Phase(report, row, PerfPhase.Prefill), .. Phase(report, row, PerfPhase.Generation),
            ]));
        }

        io.Out.Write(table);
        var memory = Tables.New("Precision", "Threads", "Peak memory", "Goal", "");
        foreach (var m in report.Memory)
            memory.AddRow(Tables.Cells(m.Precision, $"{m.Threads}", Figures.Bytes(m.PeakBytes), Figures.Bytes(m.GoalBytes), m.PeakBytes <= m.GoalBytes ? "met" : "missed"));
        io.Out.Write(memory);
        if (report.FirstToken is { } first)
            io.Say($"start to first token, {first.Precision}, {first.Threads} threads, file in the page cache: {first.Median:0.000} s ({string.Join(", ", first.Runs.Select(r => $"{r:0.000}"))})");
        foreach (var line in report.Notes)
            io.Say(line);
    }

    private static string[] Phase(EnginePerfReport report, IEnumerable<PerfFigure> figures, PerfPhase phase)
    {
        if (figures.FirstOrDefault(f => f.Phase == phase) is not { } figure)
            return ["–", "–", "–"];
        var ratio = figure.Engine == "ours"
            ? report.Ratios.FirstOrDefault(r => r.Precision == figure.Weights && r.Threads == figure.Threads && r.Phase == phase)
            : null;
        return
        [
            $"{figure.TokensPerSecond:0.0} ± {figure.SpreadPercent:0.0}%",
            figure.RooflineShare is { } share ? $"{100 * share:0}%" : "–",
            ratio is not null ? $"{ratio.Ratio:0.00} [{ratio.Low:0.00}, {ratio.High:0.00}] of {ratio.Best}" : "–",
        ];
    }
}
