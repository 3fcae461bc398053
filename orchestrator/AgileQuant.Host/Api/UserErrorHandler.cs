using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Diagnostics;

namespace AgileQuant.Host.Api;

/// <summary>Turns what a user can do something about into a 400 with the message, and the rest into a 500 that names the log.</summary>
internal sealed class UserErrorHandler(ILogger<UserErrorHandler> log) : IExceptionHandler
{
    public async ValueTask<bool> TryHandleAsync(HttpContext context, Exception exception, CancellationToken ct)
    {
        if (context.Response.HasStarted || !ApiGate.IsApi(context.Request.Path))
            return false;
        var (status, detail) = Explain(exception);
        if (status == StatusCodes.Status500InternalServerError)
            log.LogError(exception, "{Method} {Path} failed", context.Request.Method, context.Request.Path);
        await Results.Problem(detail, statusCode: status).ExecuteAsync(context);
        return true;
    }

    internal static (int Status, string Detail) Explain(Exception exception) => exception switch
    {
        UserErrorException e => (StatusCodes.Status400BadRequest, e.Message),
        ModelFormatException e => (StatusCodes.Status400BadRequest, e.Message),
        FormatException e => (StatusCodes.Status400BadRequest, e.Message),
        BadHttpRequestException e => (e.StatusCode, e.Message),
        FileNotFoundException e => (StatusCodes.Status400BadRequest, e.Message),
        DirectoryNotFoundException e => (StatusCodes.Status400BadRequest, e.Message),
        _ => (StatusCodes.Status500InternalServerError, $"The node failed: {exception.Message} (its log has the details: `bench status` names it)"),
    };
}
