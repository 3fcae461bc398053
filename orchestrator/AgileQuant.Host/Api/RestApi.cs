using AgileQuant.Host.Node;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.OpenApi;

namespace AgileQuant.Host.Api;

/// <summary>The REST API under /api/v1. Every CLI command is a client of it; docs/openapi.json describes it.</summary>
public static class RestApi
{
    private static readonly TimeSpan DefaultLinkLifetime = TimeSpan.FromMinutes(15);

    /// <summary>JSON, problem details and the OpenAPI document.</summary>
    public static void AddServices(IServiceCollection services)
    {
        services.ConfigureHttpJsonOptions(o => ApiJson.Configure(o.SerializerOptions));
        services.AddProblemDetails();
        services.AddExceptionHandler<UserErrorHandler>();
        services.AddOpenApi("v1", o => o.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo
            {
                Title = "AgileQuant.Bench",
                Version = "v1",
                Description = "REST API of a node. Local programs reach it over the Unix socket run/api.sock in BENCH_HOME; "
                    + "browsers over loopback with the dashboard's session cookie.",
            };
            document.Servers?.Clear(); // the address depends on the machine
            return Task.CompletedTask;
        }));
    }

    public static void Map(WebApplication app)
    {
        app.Use(async (context, next) =>
        {
            await next(context);
            if (context.Request.Path.StartsWithSegments("/openapi") && context.Response.StatusCode == StatusCodes.Status200OK)
                await context.Response.WriteAsync("\n", context.RequestAborted); // docs/openapi.json is a text file: it ends with its line
        });
        app.MapOpenApi("/openapi/{documentName}.json");
        var api = app.MapGroup("/api/v1");
        MapNode(api.MapGroup("").WithTags("Node"));
        DeviceEndpoints.Map(api.MapGroup("/devices").WithTags("Devices"));
        AssetEndpoints.Map(api);
        MatrixEndpoints.Map(api);
    }

    /// <summary>A missing thing is a 404 that says how to find the right one.</summary>
    internal static IResult Missing(string what, string name, string list) =>
        Results.Problem($"there is no {what} '{name}'; `{list}` shows them", statusCode: StatusCodes.Status404NotFound);

    private static void MapNode(RouteGroupBuilder node)
    {
        node.MapGet("/health", () => new HealthView("ok", Product.Version)).WithName("health").WithSummary("Answers when the node serves.");
        node.MapGet("/status", (IStatusService status, CancellationToken ct) => status.GetAsync(ct))
            .WithName("status").WithSummary("Version, nodes and implementations in use.").Produces<StatusView>();
        node.MapPost("/signin-links", CreateLinkAsync).WithName("createSignInLink")
            .WithSummary("Makes a one-time link to the dashboard.").Produces<SignInLink>();
        node.MapPost("/node/stop", (IHostApplicationLifetime lifetime) =>
            {
                lifetime.StopApplication();
                return Results.Accepted();
            })
            .WithName("stopNode").WithSummary("Stops this node. What runs on boards goes on.").Produces(StatusCodes.Status202Accepted);
    }

    private static async Task<SignInLink> CreateLinkAsync(ISignInService signIn, NodeSettings settings, TimeProvider clock, CancellationToken ct)
    {
        var expires = clock.GetUtcNow() + DefaultLinkLifetime;
        if (NodeHost.ReadInfo(settings.Home)?.DashboardUrl is not { } url)
            return new SignInLink(null, expires);
        return new SignInLink($"{url}/signin?token={await signIn.CreateOneTimeTokenAsync(DefaultLinkLifetime, ct)}", expires);
    }
}
