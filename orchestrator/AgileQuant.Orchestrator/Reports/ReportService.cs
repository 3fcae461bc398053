using System.Text;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>Reads a matrix with all its runs and renders it; the rendering itself is pure.</summary>
public sealed class ReportService(IMatrixService matrices, IRunService runs, IStatusService status, TimeProvider clock) : IReportService
{
    public async Task<ReportFile> RenderAsync(string matrixIdOrName, ReportFormat format, CancellationToken ct = default)
    {
        var matrix = await matrices.FindAsync(matrixIdOrName, ct)
            ?? throw new UserErrorException($"there is no matrix '{matrixIdOrName}'; `bench matrix list` shows them");
        var details = new List<RunDetailView>(matrix.Runs.Count);
        foreach (var run in matrix.Runs)
        {
            if (await runs.FindAsync(run.Id, ct) is { } detail)
                details.Add(detail);
        }

        return Render(ReportModel.Create(matrix, details, await status.GetAsync(ct), clock.GetUtcNow()), format);
    }

    /// <summary>Renders one format; the same model gives the same bytes.</summary>
    public static ReportFile Render(ReportModel model, ReportFormat format)
    {
        var name = FileName(model.Matrix.Summary);
        return format switch
        {
            ReportFormat.Html => new($"{name}.html", "text/html; charset=utf-8", Encoding.UTF8.GetBytes(HtmlReport.Render(model))),
            ReportFormat.Markdown => new($"{name}.md", "text/markdown; charset=utf-8", Encoding.UTF8.GetBytes(MarkdownReport.Render(model))),
            ReportFormat.Csv => new($"{name}.csv", "text/csv; charset=utf-8", Encoding.UTF8.GetBytes(CsvReport.Render(model))),
            ReportFormat.Json => new($"{name}.json", "application/json; charset=utf-8", JsonReport.Render(model)),
            _ => throw new ArgumentOutOfRangeException(nameof(format), format, "unknown report format"),
        };
    }

    private static string FileName(MatrixSummaryView matrix)
    {
        var safe = new string([.. matrix.Name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '-')]).Trim('-', '.');
        return $"{(safe.Length == 0 ? "matrix" : safe)}-{matrix.Id.ToString("N")[..8]}";
    }
}
