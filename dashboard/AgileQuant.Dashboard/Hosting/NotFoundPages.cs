using Microsoft.AspNetCore.Http;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>Leads a person with a mistyped address to a page that says so; programs, which do not ask for HTML, keep the bare 404.</summary>
internal static class NotFoundPages
{
    internal const string Path = "/not-found";

    internal static async Task LeadAsync(HttpContext context, RequestDelegate next)
    {
        await next(context);
        var (request, response) = (context.Request, context.Response);
        if (response.StatusCode == StatusCodes.Status404NotFound && !response.HasStarted && response.ContentType is null
            && HttpMethods.IsGet(request.Method) && request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal)
            && request.Path != Path)
        {
            response.Redirect(Path);
        }
    }
}
