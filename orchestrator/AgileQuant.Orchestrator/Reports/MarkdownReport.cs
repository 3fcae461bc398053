using System.Text;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>The report as GitHub-flavoured Markdown.</summary>
public static class MarkdownReport
{
    public static string Render(ReportModel model)
    {
        var text = new StringBuilder();
        text.Append($"# {Escape(ReportFacts.Title(model))}\n\n");
        Facts(text, ReportFacts.Head(model));
        text.Append("\n## Comparison\n\n");
        foreach (var note in model.Matrix.Baselines ?? [])
            text.Append($"{(note.Level ? "" : "**Baseline:** ")}{Escape(note.Sentence)} (note {ReportNotes.Number("baseline")})\n\n");
        Comparison(text, model);
        Skipped(text, model);
        text.Append("## How the figures were made\n\n");
        for (var i = 0; i < ReportNotes.All.Count; i++)
            text.Append($"{i + 1}. {Escape(ReportNotes.All[i].Text)}\n");
        text.Append('\n');
        Facts(text, ReportFacts.Method(model));
        Grades(text, model);
        text.Append("\n## Provenance\n\n");
        Table(text, ReportFacts.ProvenanceHeadings, model.Runs.Select(ReportFacts.Provenance));
        return text.ToString();
    }

    private static void Comparison(StringBuilder text, ReportModel model)
    {
        foreach (var table in ReportTable.For(model.Matrix))
        {
            text.Append($"### Workload {Escape(table.Workload)}\n\n");
            Table(text, [.. table.Columns.Select(c => c.Note is null ? c.Heading : $"{c.Heading} ({ReportNotes.Number(c.Note)})")], table.Rows,
                [.. table.Columns.Select(c => c.Numeric)]);
            text.Append('\n');
        }
    }

    private static void Skipped(StringBuilder text, ReportModel model)
    {
        var skipped = ReportFacts.Skipped(model);
        if (skipped.Count == 0)
            return;
        text.Append("## Skipped\n\n");
        Table(text, ["Run", "Reason"], skipped);
        text.Append('\n');
    }

    private static void Grades(StringBuilder text, ReportModel model)
    {
        var grades = ReportFacts.Grades(model);
        if (grades.Count == 0)
            return;
        text.Append("\n## Trust\n\n");
        Table(text, ["Run", "Grade", "Reasons"], grades.Select(g => (IReadOnlyList<string>)[g.Run, g.Grade.ToString(), g.Reasons]));
    }

    private static void Facts(StringBuilder text, IReadOnlyList<(string Name, string Value)> facts)
    {
        foreach (var (name, value) in facts)
            text.Append($"- **{Escape(name)}**: {Escape(value)}\n");
    }

    private static void Table(
        StringBuilder text, IReadOnlyList<string> headings, IEnumerable<IReadOnlyList<string>> rows, IReadOnlyList<bool>? numeric = null)
    {
        Row(text, headings);
        text.Append('|');
        for (var i = 0; i < headings.Count; i++)
            text.Append(numeric?[i] == true ? " ---: |" : " --- |");
        text.Append('\n');
        foreach (var row in rows)
            Row(text, row);
    }

    private static void Row(StringBuilder text, IReadOnlyList<string> cells)
    {
        text.Append('|');
        foreach (var cell in cells)
            text.Append(' ').Append(Escape(cell)).Append(" |");
        text.Append('\n');
    }

    /// <summary>Text that users typed must not become markup or break a table.</summary>
    internal static string Escape(string text)
    {
        var escaped = new StringBuilder(text.Length + 8);
        foreach (var c in text)
        {
            if (c is '\r' or '\n')
            {
                escaped.Append(' ');
                continue;
            }

            if (c is '|' or '<' or '>' or '`' or '*' or '\\')
                escaped.Append('\\');
            escaped.Append(c);
        }

        return escaped.ToString();
    }
}
