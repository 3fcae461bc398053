using System.CommandLine;
using AgileQuant.Host.Client;
using AgileQuant.Host.Fuzz;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>fuzz: readers of files against damaged files (docs/fuzzing.md).</summary>
internal static class FuzzCommand
{
    private const double MostMinutes = 24 * 60;

    public static Command Create()
    {
        var command = BenchCommand.Make("fuzz",
            "Feeds damaged files to everything that reads files: model, tokenizer and matrix readers in C#, and the engine's own in C (with libFuzzer). "
            + "Each must read them or refuse them in words. Exit code 1 when one did not.",
            "bench fuzz gguf --minutes 10");
        var target = new Argument<string?>("target") { Description = "One target; left out: all, one after the other.", Arity = ArgumentArity.ZeroOrOne };
        target.AcceptOnlyFromAmong([.. FuzzTarget.All.Select(t => t.Name), .. NativeFuzzer.Targets.Select(t => t.Name)]);
        var minutes = new Option<double>("--minutes") { Description = "Time for each target.", DefaultValueFactory = _ => 10 };
        var seed = new Option<int>("--seed") { Description = "The same seed makes the same files.", DefaultValueFactory = _ => 1 };
        var replay = new Option<string[]>("--replay") { Description = "Run these files instead, for instance findings; C# targets." };
        command.Add(target);
        command.Add(minutes);
        command.Add(seed);
        command.Add(replay);
        command.Handle(async (parse, io, ct) =>
        {
            var time = parse.GetValue(minutes);
            if (time is not (> 0 and <= MostMinutes))
                throw new BenchException("--minutes must be more than 0 and at most 1440");
            var results = parse.GetValue(replay) is { Length: > 0 } files
                ? [Replay(io, parse.GetValue(target), files)]
                : await RunAsync(io, parse.GetValue(target), TimeSpan.FromMinutes(time), parse.GetValue(seed), ct);
            io.Result(results, r => Draw(io, r));
            return results.Any(r => r.Findings.Count > 0) ? 1 : 0;
        });
        return command;
    }

    private static string Work(CliIo io, string target)
    {
        var folder = Path.Combine(io.Home.Folder, "fuzz", target);
        Directory.CreateDirectory(folder);
        return folder;
    }

    private static ManagedFuzzer Managed(CliIo io, FuzzTarget target) =>
        new(target, Path.Combine(SourceTree.Require(), "tests", "fuzz", target.Name), Work(io, target.Name));

    private static FuzzResult Replay(CliIo io, string? name, string[] files)
    {
        var target = FuzzTarget.All.FirstOrDefault(t => t.Name == name)
            ?? throw new BenchException("--replay needs one of the C# targets; a finding of a C target is run by engine/native/build/fuzz/fuzz-TARGET FILE");
        return Managed(io, target).Replay(files);
    }

    private static async Task<List<FuzzResult>> RunAsync(CliIo io, string? only, TimeSpan time, int seed, CancellationToken ct)
    {
        var results = new List<FuzzResult>();
        foreach (var target in FuzzTarget.All.Where(t => only is null || t.Name == only))
            results.Add(await Task.Run(() => Managed(io, target).Run(time, null, seed, io.Note, ct), ct));
        var native = NativeFuzzer.Targets.Where(t => only is null || t.Name == only).ToList();
        if (native.Count == 0)
            return results;
        var binaries = await NativeFuzzer.BuildAsync(io.Note, ct);
        foreach (var (name, _) in native)
            results.Add(await NativeFuzzer.RunAsync(binaries, name, time, seed, Work(io, name), io.Note, ct));
        return results;
    }

    private static void Draw(CliIo io, IReadOnlyList<FuzzResult> results)
    {
        var table = Tables.New("Target", "Language", "Inputs", "Seconds", "Coverage", "Corpus", "Findings");
        foreach (var r in results)
        {
            table.AddRow(Tables.Cells(r.Target, r.Kind, r.Executions.ToString(), $"{r.Seconds:0}", r.Kind == "C" ? $"{r.Coverage} edges" : $"{r.Coverage} outcomes",
                r.Corpus.ToString(), r.Findings.Count.ToString()));
        }

        io.Out.Write(table);
        foreach (var finding in results.SelectMany(r => r.Findings.Select(f => (r.Target, Finding: f))))
            io.Say($"{finding.Target}: {finding.Finding.What}\n  {finding.Finding.File}");
    }
}
