using Microsoft.AspNetCore.Http;

namespace AgileQuant.Dashboard.Hosting;

/// <summary>Headers that keep a browser from doing what the dashboard never asks of it. Everything comes from this origin.</summary>
internal static class SecurityHeaders
{
    /// <summary>Styles may stand inline (widths of bars, colours of cells); scripts may not.</summary>
    internal const string Policy =
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

    internal static Task AddAsync(HttpContext context, RequestDelegate next)
    {
        context.Response.OnStarting(static state =>
        {
            var headers = ((HttpResponse)state).Headers;
            headers.ContentSecurityPolicy = Policy;
            headers.XContentTypeOptions = "nosniff";
            headers["Referrer-Policy"] = "no-referrer";
            return Task.CompletedTask;
        }, context.Response);
        return next(context);
    }
}
