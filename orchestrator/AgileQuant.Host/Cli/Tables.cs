using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>Tables on the terminal; plain text in, no markup.</summary>
internal static class Tables
{
    public static Table New(params IEnumerable<string> headings)
    {
        var table = new Table { Border = TableBorder.Rounded, UseSafeBorder = true };
        foreach (var heading in headings)
            table.AddColumn(new TableColumn(Markup.Escape(heading)));
        return table;
    }

    /// <summary>Cells as text, whatever brackets they hold.</summary>
    public static IEnumerable<Text> Cells(params IEnumerable<string> cells) => cells.Select(c => new Text(c));

    public static string Time(DateTimeOffset? at) => at is { } t ? t.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss") : "–";
}
