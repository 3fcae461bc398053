using System.CommandLine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>dataset import, list.</summary>
internal static class DatasetCommands
{
    public static Command Create() => new("dataset", "Imports and lists evaluation texts.") { Import(), List() };

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

    private static void Draw(CliIo io, IReadOnlyList<DatasetView> datasets)
    {
        var table = Tables.New("Name", "Format", "Size", "SHA-256", "Imported");
        foreach (var d in datasets)
            table.AddRow(Tables.Cells(d.Name, d.Format, Figures.Bytes(d.Bytes), d.Sha256, Tables.Time(d.CreatedAt)));
        io.Out.Write(table);
    }
}
