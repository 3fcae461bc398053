using System.CommandLine;

namespace AgileQuant.Host.Cli;

/// <summary>report.</summary>
internal static class ReportCommand
{
    /// <summary>Formats by file extension.</summary>
    public static IReadOnlyList<string> Formats { get; } = ["html", "md", "csv", "json"];

    public static Command Create()
    {
        var command = BenchCommand.Make("report", "Writes the report of a matrix as it stands.", "bench report pi-shelf --format html --out pi-shelf.html");
        var matrix = new Argument<string>("matrix") { Description = "Id, the start of an id, or a name." };
        var format = new Option<string>("--format") { Description = "html, md, csv or json.", DefaultValueFactory = _ => "html" };
        format.AcceptOnlyFromAmong([.. Formats]);
        var output = new Option<string?>("--out") { Description = "File to write; - is standard output. Without it a file here, named after the matrix." };
        command.Add(matrix);
        command.Add(format);
        command.Add(output);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var report = await client.GetReportAsync(parse.GetValue(matrix)!, parse.GetValue(format)!, ct);
            var file = parse.GetValue(output) ?? report.FileName;
            if (file == "-")
            {
                await using var stdout = Console.OpenStandardOutput();
                await stdout.WriteAsync(report.Content, ct);
                return 0;
            }

            await File.WriteAllBytesAsync(file, report.Content, ct);
            io.Result(new { file = Path.GetFullPath(file), bytes = report.Content.Length }, r => io.Say($"wrote {r.file}"));
            return 0;
        });
        return command;
    }
}
