using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>Downloads of a matrix's report: <c>GET /matrices/{id}/report/{html|md|csv|json}</c>.</summary>
internal static class ReportEndpoint
{
    internal static void Map(IEndpointRouteBuilder endpoints) =>
        endpoints.MapGet("/matrices/{id}/report/{format}", RenderAsync)
            .RequireAuthorization(DashboardAuth.Policy).ExcludeFromDescription();

    /// <summary>The format a file extension names; null when it names none.</summary>
    internal static ReportFormat? Parse(string format) => format.ToLowerInvariant() switch
    {
        "html" => ReportFormat.Html,
        "md" => ReportFormat.Markdown,
        "csv" => ReportFormat.Csv,
        "json" => ReportFormat.Json,
        _ => null,
    };

    private static async Task<IResult> RenderAsync(string id, string format, IReportService reports, CancellationToken ct)
    {
        if (Parse(format) is not { } known)
        {
            return Results.Text($"There is no report format of that name. Use html, md, csv or json.", statusCode: StatusCodes.Status404NotFound);
        }

        try
        {
            var file = await reports.RenderAsync(id, known, ct);
            return Results.File(file.Content, file.ContentType, file.FileName);
        }
        catch (UserErrorException error)
        {
            return Results.Text(error.Message, statusCode: StatusCodes.Status404NotFound);
        }
    }
}
