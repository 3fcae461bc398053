using System.CommandLine;
using AgileQuant.Engine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>dataset import, list, sample.</summary>
internal static class DatasetCommands
{
    public static Command Create() => new("dataset", "Imports, lists and writes evaluation texts.") { Import(), List(), Sample() };

    private static Command Import()
    {
        var command = BenchCommand.Make("import", "Imports an evaluation text.", "bench dataset import wiki.test.raw --name wikitext2 --format wikitext-gptq");
        var path = new Argument<string>("text") { Description = "A UTF-8 text file." };
        var name = new Option<string>("--name") { Description = "How matrices call it.", Required = true };
        var format = new Option<string>("--format")
        {
            Description = "text: as it is; wikitext-gptq: records joined by a blank line, as GPTQ does.",
            DefaultValueFactory = _ => "text",
        };
        command.Add(path);
        command.Add(name);
        command.Add(format);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var file = Path.GetFullPath(parse.GetValue(path)!);
            if (!File.Exists(file))
                throw new BenchException($"there is no file {file}");
            var dataset = await client.ImportDatasetAsync(new ImportDatasetRequest(file, parse.GetValue(name)!, parse.GetValue(format)!), ct);
            io.Result(dataset, d => Draw(io, [d]));
            return 0;
        });
        return command;
    }

    private static Command List()
    {
        var command = BenchCommand.Make("list", "Lists the evaluation texts.", "bench dataset list");
        command.HandleWithNode(async (_, io, client, ct) =>
        {
            io.Result(await client.ListDatasetsAsync(ct), datasets =>
            {
                if (datasets.Count == 0)
                    io.Say("no datasets yet; `bench dataset import FILE --name NAME` brings one in");
                else
                    Draw(io, datasets);
            });
            return 0;
        });
        return command;
    }

    private static Command Sample()
    {
        var command = BenchCommand.Make("sample",
            "Writes the text the sample models are scored on, or one to calibrate them on, from this machine's .NET SDK; needs no node.",
            "bench dataset sample train.txt --training");
        var output = new Argument<string>("out") { Description = "The text file to write." };
        var training = new Option<bool>("--training") { Description = "The calibration text: other sentences of the same documentation." };
        command.Add(output);
        command.Add(training);
        command.Handle(async (parse, io, ct) =>
        {
            var file = Path.GetFullPath(parse.GetValue(output)!);
            var sample = await Task.Run(() => Build(parse.GetValue(training)), ct);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            await File.WriteAllTextAsync(file, sample.Text, ct);
            io.Result(new SampleFile(file, sample.Sentences, sample.Missing, sample.Sha256), f => io.Say(
                $"{f.Path}: {f.Sentences} sentences, sha256 {f.Sha256}"
                + (f.Missing == 0 ? "" : $"; {f.Missing} are missing in this SDK version, so figures differ a little from the model card's")));
            return 0;
        });
        return command;
    }

    private static (string Text, int Sentences, int Missing, string Sha256) Build(bool training)
    {
        var hashes = Path.Combine(SourceTree.Require(), "infra", "samples", "heldout.hashes");
        try
        {
            if (training)
            {
                var sample = CalibrationSample.Build(hashes);
                return (sample.Text, sample.Sentences, 0, sample.Sha256);
            }

            var text = HeldOutText.Rebuild(hashes);
            return (text.Text, text.Found, text.Missing, text.Sha256);
        }
        catch (DirectoryNotFoundException e)
        {
            throw new BenchException(e.Message, e);
        }
    }

    /// <summary>The text that was written.</summary>
    /// <param name="Missing">Sentences of the held-out text that this SDK does not have.</param>
    private sealed record SampleFile(string Path, int Sentences, int Missing, string Sha256);

    private static void Draw(CliIo io, IReadOnlyList<DatasetView> datasets)
    {
        var table = Tables.New("Name", "Format", "Size", "SHA-256", "Imported");
        foreach (var d in datasets)
            table.AddRow(Tables.Cells(d.Name, d.Format, Figures.Bytes(d.Bytes), d.Sha256, Tables.Time(d.CreatedAt)));
        io.Out.Write(table);
    }
}
