using AgileQuant.Agent;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>What every driver of a node needs.</summary>
public sealed record DriverServices(
    Database Database, DeviceStore Devices, JobStore Jobs, AttemptStore Attempts, AssetStore Assets, ScoreStore Scores, TelemetryStore Telemetry,
    HostUseStore Hosts, NodeJobStore NodeJobs, ArtifactStore Artifacts, ArtifactFetcher Fetcher, IRemoteShellFactory Shells, NodeIdentity Node, OrchestratorOptions Options, WakeSignal Wake);

/// <summary>The board is not as its driver needs it; the device gets this state and reason and waits for a person.</summary>
public sealed class BoardUnfitException : Exception
{
    public BoardUnfitException()
    {
    }

    public BoardUnfitException(string message)
        : base(message)
    {
    }

    public BoardUnfitException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
