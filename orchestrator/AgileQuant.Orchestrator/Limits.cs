namespace AgileQuant.Orchestrator;

/// <summary>Upper bounds on what a user may ask for. Every one has a message that says what to do.</summary>
public static class Limits
{
    public const int RunsPerMatrix = 2000;
    public const int BlocksPerJob = 2000;
    public const int NameLength = 100;

    /// <summary>Longest name of a pack in an engine's plan: docs/engine-protocol.md.</summary>
    public const int PrecisionLength = 64;
    public const int WorkloadsPerMatrix = 50;
    public const int DevicesPerMatrix = 500;
    public const int TokensPerRepetition = 131_072;
    public const int Threads = 1024;
    public const int Rounds = 200;
    public const int Repetitions = 1000;
    public const long DatasetBytes = 1L << 30;
    public const long EngineBytes = 64L << 20;
    public const int TelemetryPoints = 10_000;
    public const int Devices = 5000;
    public const int Windows = 1_000_000;
}
