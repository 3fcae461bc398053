using Microsoft.AspNetCore.Authentication;

namespace AgileQuant.Host.Api;

/// <summary>
/// Lets a request to the REST API pass when it came over the Unix socket (file permissions are the protection) or carries the
/// dashboard's session cookie. A change by cookie must come from our own pages.
/// </summary>
internal sealed class ApiGate(RequestDelegate next)
{
    /// <summary>The dashboard's authentication scheme.</summary>
    internal const string DashboardScheme = "AgileQuant.Dashboard";

    public async Task InvokeAsync(HttpContext context)
    {
        if (!IsApi(context.Request.Path) || LocalSocket.IsSource(context))
        {
            await next(context);
            return;
        }

        var session = await context.AuthenticateAsync(DashboardScheme);
        if (!session.Succeeded)
        {
            await Refuse(context, StatusCodes.Status401Unauthorized,
                "Sign in first: `bench up` prints a one-time link. Programs on the node's machine use the Unix socket.");
            return;
        }

        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method) && !IsOwnOrigin(context.Request))
        {
            await Refuse(context, StatusCodes.Status403Forbidden, "This request came from a page of another site.");
            return;
        }

        context.User = session.Principal;
        await next(context);
    }

    internal static bool IsApi(PathString path) => path.StartsWithSegments("/api") || path.StartsWithSegments("/openapi");

    private static bool IsOwnOrigin(HttpRequest request) =>
        request.Headers.Origin.Count == 1 && request.Headers.Origin[0] == $"{request.Scheme}://{request.Host}";

    private static Task Refuse(HttpContext context, int status, string detail) =>
        Results.Problem(detail, statusCode: status).ExecuteAsync(context);
}
