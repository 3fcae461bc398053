using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using AgileQuant.Engine;
using AgileQuant.Host.Client;
using AgileQuant.Host.Quantization;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>ablate: the paper's ablations of one model on one text, scored by the native engine on packed files.</summary>
internal static class AblateCommand
{
    public static Command Create()
    {
        var command = BenchCommand.Make("ablate",
            "Packs a model in many recipes, scores them with the engine on this machine at several input lengths, and shows what each part of "
            + "the method is worth; for pruned recipes also how much of the gain is the scoring of survivors only.",
            "bench ablate infra/samples/docs-llama heldout.txt --calibration train.txt --lengths 128,256,512 --out ablation");
        var model = new Argument<string>("model") { Description = "A Hugging Face folder or a .gguf file." };
        var text = new Argument<string>("text") { Description = "The text it is scored on: UTF-8, or a .aqtk token file." };
        var calibration = new Option<string?>("--calibration") { Description = "Another text; without it, recipes that need calibration are left out." };
        var lengths = new Option<string>("--lengths") { Description = "Ids in a window, separated by commas.", DefaultValueFactory = _ => "128,256,512" };
        var windows = new Option<int>("--windows") { Description = "Windows at the longest length; shorter ones score as many ids.", DefaultValueFactory = _ => 16 };
        var precisions = new Option<string?>("--precisions") { Description = "Only these, separated by commas, beside fp16." };
        var output = new Option<string?>("--out") { Description = "Folder for ablation.csv and ablation.svg." };
        command.Add(model);
        command.Add(text);
        foreach (var option in (Option[])[calibration, lengths, windows, precisions, output])
            command.Add(option);
        command.Handle(async (parse, io, ct) =>
        {
            var sizes = Lengths(parse.GetValue(lengths)!);
            var chosen = parse.GetValue(precisions)?.Split(',').Select(p => QuantizeCommand.ParsePrecision(p)).ToList();
            var steps = chosen is null
                ? Ablation.Steps(parse.GetValue(calibration) is not null)
                : [.. chosen.Prepend(Precision.Fp16).SelectMany(p => (Precision[])[Ablation.Step("", p).Dense, p]).Distinct().Select(p => Ablation.Step("chosen", p))];
            var folder = Path.GetFullPath(parse.GetValue(output) ?? Path.GetTempPath());
            Directory.CreateDirectory(folder);
            try
            {
                using var local = await TensorProgress.ShowAsync(io, "importing", p => Task.Run(() => LocalModel.Open(parse.GetValue(model)!, folder, p, ct), ct));
                var run = new AblationRun(local, local.Tokens(parse.GetValue(text)!), await EngineAsync(io, ct), io.Note);
                var rows = await run.RunAsync(
                    steps, parse.GetValue(calibration) is { } path ? local.Tokens(path) : null, sizes, parse.GetValue(windows), ct);
                if (parse.GetValue(output) is not null)
                    await WriteAsync(io, folder, Path.GetFileName(Path.TrimEndingDirectorySeparator(parse.GetValue(model)!)), rows, ct);
                io.Result(rows, r => Draw(io, r));
            }
            catch (Exception e) when (e is CalibrationException or ModelFormatException)
            {
                throw new BenchException(e.Message, e);
            }

            return 0;
        });
        return command;
    }

    private static int[] Lengths(string text)
    {
        var result = text.Split(',').Select(l => int.TryParse(l, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n is >= 16 and <= 131072
            ? n : throw new BenchException($"'{l}' is no input length from 16 to 131072; write for example --lengths 128,256,512")).Distinct().Order().ToArray();
        return result;
    }

    /// <summary>Built from the sources as they are now: an earlier build may not know what is packed now, or compute it otherwise.</summary>
    private static async Task<string> EngineAsync(CliIo io, CancellationToken ct)
    {
        var target = RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "linux-arm64" : "linux-x64";
        try
        {
            return await NativeEngine.BuildAsync(target, io.Note, ct);
        }
        catch (BenchException e) when (NativeEngine.FindBuilt(target) is not null)
        {
            io.Note($"the engine is an earlier build: {e.Message}");
            return NativeEngine.FindBuilt(target)!;
        }
    }

    private static async Task WriteAsync(CliIo io, string folder, string model, IReadOnlyList<AblationRow> rows, CancellationToken ct)
    {
        var (csv, svg) = (Path.Combine(folder, "ablation.csv"), Path.Combine(folder, "ablation.svg"));
        await File.WriteAllTextAsync(csv, AblationOutput.Csv(rows), ct);
        await File.WriteAllTextAsync(svg, AblationOutput.Svg($"Ablation of {model}", rows), ct);
        io.Note($"wrote {csv} and {svg}");
    }

    private static void Draw(CliIo io, IReadOnlyList<AblationRow> rows)
    {
        foreach (var length in rows.GroupBy(r => r.Length))
        {
            io.Say($"gptq-{length.Key}[0:{length.First().Windows}], fp16 {Math.Exp(length.First().Full):0.0000}");
            var table = Tables.New("Group", "Precision", "PPL", "Loss (nat)", "PPL survivors", "fp16 on them", "Survivors", "Apparent gain", "of it by scoring", "Real gain");
            foreach (var r in length)
            {
                table.AddRow(Tables.Cells(
                    r.Group, r.Precision, $"{Math.Exp(r.All):0.0000}", $"{r.Loss:0.00000}", Or(r.Survivors, v => $"{Math.Exp(v):0.0000}"),
                    Or(r.FullOnSurvivors, v => $"{Math.Exp(v):0.0000}"), Or(r.SurvivorShare, v => $"{v:0.0%}"), Or(r.ApparentGain, v => $"{v:+0.0000;-0.0000}"),
                    Or(r.GainByScoring, v => $"{v:+0.0000;-0.0000}"), Or(r.RealGain, v => $"{v:+0.0000;-0.0000}")));
            }

            io.Out.Write(table);
        }

        if (rows.Any(r => r.Survivors is not null))
        {
            io.Say("Gains in nats against the same recipe without pruning. Apparent: survivors alone are scored, as in the paper; by scoring: what fp16 "
                + "gains when it is scored on those targets only; real: every target is scored.");
        }
    }

    private static string Or(double? value, Func<double, string> format) => value is { } v ? format(v) : "–";
}
