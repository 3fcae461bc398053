using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>The comparison on the terminal: the report's columns, one table a workload.</summary>
internal static class MatrixTable
{
    public static void Draw(CliIo io, MatrixView view)
    {
        io.Say($"{view.Summary.Name} ({MatrixCommands.Short(view.Summary.Id)}): {view.Summary.State.ToString().ToLowerInvariant()}, "
            + $"{view.Summary.Complete} of {view.Summary.Runs} runs complete");
        foreach (var group in Group(view))
        {
            var (columns, rows) = ReportTable.Build(group.Runs);
            var shown = columns.Select((c, i) => (c, i)).Where(x => x.c.Heading != "Workload" && !AllComplete(x.c, rows, x.i)).ToList();
            io.Say($"\nworkload {group.Workload}");
            var table = Tables.New(shown.Select(x => x.c.Heading));
            foreach (var (column, at) in shown.Select((x, at) => (x.c, at)))
                table.Columns[at].Alignment = column.Numeric ? Justify.Right : Justify.Left;
            foreach (var row in rows)
                table.AddRow(Tables.Cells(shown.Select(x => row[x.i])));
            io.Out.Write(table);
        }
    }

    private static bool AllComplete(ReportColumn column, IReadOnlyList<IReadOnlyList<string>> rows, int at) =>
        column.Heading == "State" && rows.All(r => r[at] == "complete");

    private static IEnumerable<(string Workload, List<RunSummaryView> Runs)> Group(MatrixView view) =>
        ReportModel.Ordered(view).GroupBy(r => r.Workload).Select(g => (g.Key, g.ToList()));
}
