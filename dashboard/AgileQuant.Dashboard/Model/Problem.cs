using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Dashboard.Model;

/// <summary>Words for what a user's action failed with. What is nobody's mistake goes to the node's log with its stack trace.</summary>
internal static class Problem
{
    /// <summary>Plain words; never null, so that a page shows them and its circuit lives on.</summary>
    internal static string Of(Exception error, ILogger log, string what)
    {
        if (error is UserErrorException or ModelFormatException or FormatException or FileNotFoundException or DirectoryNotFoundException)
        {
            return error.Message;
        }

        log.LogError(error, "{What} failed", what);
        return error is IOException or UnauthorizedAccessException
            ? $"{what} failed: {error.Message}"
            : $"{what} failed in the node; its log says why. Try again, and look at the status page if it goes on.";
    }
}
