using System.CommandLine;
using AgileQuant.Engine;
using AgileQuant.Host.Client;
using AgileQuant.Host.Quantization;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>quantize: packs a model on this machine, without a node, and shows what that did to it.</summary>
internal static class QuantizeCommand
{
    public static Command Create()
    {
        var command = BenchCommand.Make("quantize",
            "Packs a model in a precision on this machine; --explain shows for every layer the error, the outlier channels and what was chosen.",
            "bench quantize ~/models/TinyLlama-1.1B --precision w4a4+gptq+trip --calibration train.txt --explain --out tinyllama-w4a4.gguf");
        var model = new Argument<string>("model") { Description = "A Hugging Face folder or a .gguf file." };
        var precision = new Option<string>("--precision") { Description = "For instance w8a8, w4a8+gptq, w4a4+gptq+trip+mixed.", Required = true };
        var calibration = new Option<string?>("--calibration") { Description = "A UTF-8 text (or .aqtk token file) that is not the one the model is scored on." };
        var group = new Option<int>("--group") { Description = "Weights that share an int4 scale: 32, 64, 128, or 0 for a row.", DefaultValueFactory = _ => 32 };
        var windows = new Option<int>("--windows") { Description = "Calibration windows of at most 512 ids.", DefaultValueFactory = _ => CalibrationText.DefaultWindows };
        var explain = new Option<bool>("--explain") { Description = "Show what quantization did; needs --calibration." };
        var output = new Option<string>("--out") { Description = "The packed model.", Required = true };
        foreach (var symbol in (Symbol[])[model, precision, calibration, group, windows, explain, output])
        {
            if (symbol is Argument argument)
                command.Add(argument);
            else
                command.Add((Option)symbol);
        }

        command.Handle(async (parse, io, ct) =>
        {
            var request = new Request(
                parse.GetValue(model)!, ParsePrecision(parse.GetValue(precision)!), parse.GetValue(calibration), parse.GetValue(group),
                parse.GetValue(windows), parse.GetValue(explain), Path.GetFullPath(parse.GetValue(output)!));
            Check(request);
            using var local = await TensorProgress.ShowAsync(
                io, "importing", p => Task.Run(() => LocalModel.Open(request.Model, Path.GetDirectoryName(request.Output)!, p, ct), ct));
            var report = await ModelCommands.WithProgressAsync(io, "quantizing", p => Task.Run(() => Run(local, request, p, ct), ct));
            io.Result(report, r => Draw(io, r));
            return 0;
        });
        return command;
    }

    /// <exception cref="BenchException">The text is no precision; the message says why.</exception>
    internal static Precision ParsePrecision(string text) =>
        Precision.TryParse(text, out var precision) ? precision : throw Refusal(text);

    private static BenchException Refusal(string text)
    {
        try
        {
            Precision.Parse(text);
            return new BenchException(text);
        }
        catch (FormatException e)
        {
            return new BenchException(e.Message, e);
        }
    }

    private static void Check(Request request)
    {
        if (request.Explain && request.Calibration is null)
            throw new BenchException("--explain measures on a text: give one with --calibration");
        if (request.Explain && request.Precision.Is16Bit)
            throw new BenchException($"{request.Precision} quantizes nothing that could be explained; leave --explain out");
    }

    private static QuantizeReport Run(LocalModel model, Request request, IProgress<double> progress, CancellationToken ct)
    {
        try
        {
            var text = request.Calibration is null ? null : model.Tokens(request.Calibration);
            var context = ModelImporter.Inspect(model.Path).ContextLength;
            var calibration = text is null ? null : CalibrationText.For(text, context, request.Windows);
            var recipe = PackRecipe.For(request.Precision, request.Group, calibration);
            var pack = Packer.Pack(model.Path, recipe, request.Output, text, progress, ct);
            var explanation = request.Explain
                ? pack.Explanation ?? QuantizationExplanation.Of(model.Path, recipe, text!, calibration!, cancellation: ct)
                : null;
            return new QuantizeReport(request.Output, pack.Precision.ToString(), pack.Sha256, pack.Bytes, recipe.ToCanonicalJson(),
                explanation is null ? null : new Explained(
                    explanation.Tokens, explanation.Linears, explanation.Layers, explanation.Searches, explanation.Perplexity, explanation.FullPerplexity));
        }
        catch (Exception e) when (e is CalibrationException or ModelFormatException or ArgumentOutOfRangeException)
        {
            throw new BenchException(e.Message, e);
        }
    }

    private static void Draw(CliIo io, QuantizeReport report)
    {
        if (report.Explanation is { } explanation)
        {
            io.Out.Write(Linears(explanation));
            io.Out.Write(Layers(explanation));
            foreach (var search in explanation.Searches)
                io.Out.Write(Search(search));
            io.Say($"calibration text: perplexity {explanation.Perplexity:0.0000}, in fp32 {explanation.FullPerplexity:0.0000} "
                + $"({explanation.Perplexity / explanation.FullPerplexity - 1:+0.00%;-0.00%}); measured on {explanation.Tokens} tokens");
        }

        io.Say($"{report.File}: {report.Precision}, {Figures.Bytes(report.Bytes)}, sha256 {report.Sha256}");
    }

    private static Table Linears(Explained explanation)
    {
        var table = Tables.New("Linear", "Input", "Bits", "Error of output", "Outlier channels", "TRIP", "Largest factor", "Scaled channels", "Size");
        foreach (var l in explanation.Linears)
        {
            table.AddRow(Tables.Cells(
                l.Name, l.Input, $"w{l.WeightBits}a{l.ActivationBits}", $"{l.RelativeError:0.000%}", $"{l.OutlierChannels}",
                l.Mode == "none" ? "–" : l.Mode, l.Mode == "none" ? "–" : $"2^{l.LargestExponent}", l.Mode == "none" ? "–" : $"{l.ScaledChannels}",
                Figures.Bytes(l.Bytes)));
        }

        return table;
    }

    private static Table Layers(Explained explanation)
    {
        var table = Tables.New("Layer", "Tokens left", "Of them 4-bit", "Error of residual stream");
        foreach (var l in explanation.Layers)
            table.AddRow(Tables.Cells($"{l.Layer}", $"{l.RowShare:0.0%}", $"{l.LowShare:0.0%}", $"{l.StreamError:0.000%}"));
        return table;
    }

    private static Table Search(SearchExplanation search)
    {
        var table = Tables.New($"Layers for {search.What}", $"NLL lost on {search.Ids} ids", search.What == "low" ? "4-bit work" : "Work left", "");
        foreach (var o in search.Options)
            table.AddRow(Tables.Cells(o.Layers, $"{o.Loss:+0.0000;-0.0000}", $"{o.Work:0.0%}", o.Chosen ? "chosen" : ""));
        return table;
    }

    private sealed record Request(string Model, Precision Precision, string? Calibration, int Group, int Windows, bool Explain, string Output);
}

/// <summary>What the command made.</summary>
internal sealed record QuantizeReport(string File, string Precision, string Sha256, long Bytes, string Recipe, Explained? Explanation);

/// <summary>A <see cref="QuantizationExplanation"/> without its recipe, which stands beside it as canonical JSON.</summary>
internal sealed record Explained(
    int Tokens, IReadOnlyList<LinearExplanation> Linears, IReadOnlyList<LayerExplanation> Layers, IReadOnlyList<SearchExplanation> Searches,
    double Perplexity, double FullPerplexity);
