using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Services;

/// <summary>Files that a user names, on the node's machine.</summary>
internal static class UserFiles
{
    /// <summary>Replaces a leading <c>~/</c> by the home folder of the user that runs the node; no shell has done so.</summary>
    public static string Expand(string path) => path.StartsWith("~/", StringComparison.Ordinal)
        ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), path[2..])
        : path;

    /// <summary>What to do about a file that could not be read, or a store that could not be written.</summary>
    public static UserErrorException Explain(Exception error, string what) => new(
        error is UnauthorizedAccessException
            ? $"{what}: {error.Message} The node reads it as user {Environment.UserName}: give that user the right to read it, for example with chmod."
            : $"{what}: {error.Message} Check the file and the space left on the node's disk, then try again.",
        error);

    /// <summary>Of the file system, and no more exact kind that has its own message.</summary>
    public static bool IsFileProblem(Exception error) => error is IOException or UnauthorizedAccessException;
}
