using AgileQuant.Agent;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>An engine goes on although it was asked to stop: its attempt must not be ended before it does. Tried again.</summary>
public sealed class EngineRunsException : RemoteShellException
{
    public EngineRunsException()
    {
    }

    public EngineRunsException(string message)
        : base(message)
    {
    }

    public EngineRunsException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    public override bool IsTransient => true;
}
