using System.Security.Claims;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Api;

/// <summary>Matrices, runs and reports.</summary>
internal static class MatrixEndpoints
{
    private const int MaxListed = 1000;
    private static readonly TimeSpan ComparisonLimit = TimeSpan.FromSeconds(30);

    public static void Map(RouteGroupBuilder api)
    {
        var matrices = api.MapGroup("/matrices").WithTags("Matrices");
        matrices.MapGet("", (int? limit, IMatrixService service, CancellationToken ct) =>
                service.ListAsync(Math.Clamp(limit ?? 100, 1, MaxListed), ct))
            .WithName("listMatrices").WithSummary("Newest first.").Produces<IReadOnlyList<MatrixSummaryView>>();
        matrices.MapPost("/plan", (MatrixSpec spec, IMatrixService service, CancellationToken ct) => service.PlanAsync(spec, ct))
            .WithName("planMatrix").WithSummary("Checks a matrix and says what starting it would do.")
            .Produces<MatrixPlanView>().ProducesProblem(400);
        matrices.MapPost("", async (MatrixSpec spec, IMatrixService service, ClaimsPrincipal user, CancellationToken ct) =>
                new MatrixStarted(await service.StartAsync(spec, UserName(user), ct)))
            .WithName("startMatrix").WithSummary("Starts a matrix; it goes on by itself.").Produces<MatrixStarted>().ProducesProblem(400);
        matrices.MapGet("/{matrix}", async (string matrix, IMatrixService service, CancellationToken ct) =>
                await service.FindAsync(matrix, ct) is { } view ? Results.Ok(view) : Missing(matrix))
            .WithName("getMatrix").WithSummary("One matrix by id, unique id prefix or name.").Produces<MatrixView>().ProducesProblem(404);
        matrices.MapGet("/{matrix}/watch", WatchAsync)
            .WithName("watchMatrix").WithSummary("The matrix whenever it changes, a JSON line each, until it ends.")
            .Produces<MatrixView>(200, "application/x-ndjson").ProducesProblem(404);
        matrices.MapPost("/{matrix}/cancel", async (string matrix, IMatrixService service, ClaimsPrincipal user, CancellationToken ct) =>
            {
                if (await service.FindAsync(matrix, ct) is not { } view)
                    return Missing(matrix);
                await service.CancelAsync(view.Summary.Id, UserName(user), ct);
                return Results.Accepted();
            })
            .WithName("cancelMatrix").WithSummary("Asks for cancellation; finished results stay.").Produces(202).ProducesProblem(404);
        matrices.MapGet("/{matrix}/report", ReportAsync)
            .WithName("matrixReport").WithSummary("The report as html, md, csv or json.")
            .Produces(200, contentType: "text/html").ProducesProblem(400).ProducesProblem(404);
        api.MapGet("/runs/{run:guid}", async (Guid run, IRunService runs, CancellationToken ct) =>
                await runs.FindAsync(run, ct) is { } view
                    ? Results.Ok(view)
                    : RestApi.Missing("run", run.ToString(), "bench matrix show <matrix>"))
            .WithTags("Runs").WithName("getRun").WithSummary("A run with its samples, attempts and provenance.")
            .Produces<RunDetailView>().ProducesProblem(404);
    }

    /// <summary>html, md, csv or json.</summary>
    internal static ReportFormat ParseFormat(string? format) => format?.ToLowerInvariant() switch
    {
        null or "html" => ReportFormat.Html,
        "md" => ReportFormat.Markdown,
        "csv" => ReportFormat.Csv,
        "json" => ReportFormat.Json,
        _ => throw new UserErrorException($"unknown report format '{format}'; use html, md, csv or json"),
    };

    /// <summary>
    /// Nothing more will change: every run has ended, and so has the node's own work for it, which may come after the boards'
    /// results (the score of the whole text, and the comparison with it, given <see cref="ComparisonLimit"/>). A cancelled matrix
    /// waits for nothing.
    /// </summary>
    internal static bool IsOver(MatrixView view, DateTimeOffset now) => view.Summary.State switch
    {
        MatrixState.Cancelled => true,
        MatrixState.Complete or MatrixState.Incomplete =>
            !view.Jobs.Any(j => j.State is "waiting" or "running") && (!AwaitsComparison(view) || now > LastEnd(view) + ComparisonLimit),
        _ => false,
    };

    private static bool AwaitsComparison(MatrixView view) => view.Runs.Any(r => r.Perplexity is { Full: not null, NodeAgreement: null });

    private static DateTimeOffset LastEnd(MatrixView view) =>
        view.Jobs.Select(j => j.FinishedAt).Append(view.Summary.FinishedAt).Max() ?? view.Summary.CreatedAt;

    private static async Task<IResult> ReportAsync(
        string matrix, string? format, IMatrixService matrices, IReportService reports, CancellationToken ct)
    {
        var known = ParseFormat(format);
        if (await matrices.FindAsync(matrix, ct) is not { } view)
            return Missing(matrix);
        var file = await reports.RenderAsync(view.Summary.Id.ToString(), known, ct);
        return Results.File(file.Content, file.ContentType, file.FileName);
    }

    private static async Task<IResult> WatchAsync(
        string matrix, IMatrixService service, IMatrixProgress progress, IHostApplicationLifetime lifetime, TimeProvider clock, HttpContext context)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var ct = stop.Token;
        if (await service.FindAsync(matrix, ct) is not { } found)
            return Missing(matrix);
        context.Response.ContentType = "application/x-ndjson";
        try
        {
            await foreach (var view in progress.WatchAsync(found.Summary.Id, ct))
            {
                await AssetEndpoints.WriteLineAsync(context, view, ct);
                if (IsOver(view, clock.GetUtcNow()))
                    break;
            }
        }
        catch (OperationCanceledException)
        {
            // the client went, or the node stops: the stream just ends
        }

        return Results.Empty;
    }

    private static string UserName(ClaimsPrincipal user) => user.Identity?.Name ?? "cli";

    private static IResult Missing(string matrix) => RestApi.Missing("matrix", matrix, "bench matrix list");
}
