using AgileQuant.Agent.Protocol;

namespace AgileQuant.Agent;

/// <summary>Where things are on a board. Absolute POSIX paths.</summary>
/// <param name="Root">The folder that holds everything of ours.</param>
public sealed record BoardPaths(string Root)
{
    public static BoardPaths In(IRemoteShell shell)
    {
        ArgumentNullException.ThrowIfNull(shell);
        return new BoardPaths(shell.HomeFolder.TrimEnd('/') + "/.agilequant");
    }

    public string Store => Root + "/store";

    public string Artifact(string sha256) => $"{Store}/{Names.RequireSha256(sha256)}";

    public string Job(string attempt) => $"{Root}/jobs/{Names.RequireAttempt(attempt)}";
}
