using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>The comparison on the terminal: the report's tables, one a workload.</summary>
internal static class MatrixTable
{
    public static void Draw(CliIo io, MatrixView view)
    {
        io.Say($"{view.Summary.Name} ({MatrixCommands.Short(view.Summary.Id)}): {view.Summary.State.ToString().ToLowerInvariant()}, "
            + MatrixCommands.Counts(view.Summary));
        foreach (var report in ReportTable.For(view))
        {
            io.Say($"\nworkload {report.Workload}");
            var table = Tables.New(report.Columns.Select(c => c.Heading));
            for (var i = 0; i < report.Columns.Count; i++)
                table.Columns[i].Alignment = report.Columns[i].Numeric ? Justify.Right : Justify.Left;
            foreach (var row in report.Rows)
                table.AddRow(Tables.Cells(row));
            io.Out.Write(table);
        }

        foreach (var note in view.Baselines ?? [])
            io.Say($"\n{note.Sentence} See {BaselineNote.Link}.");
    }
}
