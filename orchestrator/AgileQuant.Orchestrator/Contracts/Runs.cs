namespace AgileQuant.Orchestrator.Contracts;

/// <summary>A run with everything that explains its figures.</summary>
public sealed record RunDetailView(
    RunSummaryView Run, IReadOnlyList<BlockView> Blocks, IReadOnlyList<AttemptView> Attempts, IReadOnlyList<TelemetryPoint> Telemetry,
    IReadOnlyList<WindowView> Windows, ProvenanceView Provenance);

/// <summary>One timing block of this run or of its baseline, with every sample.</summary>
public sealed record BlockView(int Index, string Precision, string Kind, bool IsBaseline, int Tokens, IReadOnlyList<SampleView> Samples, int Warmups, double? LoadMs);

/// <summary>One timed repetition. Outliers are marked, never dropped.</summary>
public sealed record SampleView(int Index, long Nanoseconds, double TokensPerSecond, bool Outlier);

/// <summary>One try of a job.</summary>
public sealed record AttemptView(Guid Id, string JobKind, int Number, string State, string? Reason, long Epoch, string Node, DateTimeOffset StartedAt, DateTimeOffset? FinishedAt);

/// <summary>Mean NLL (nats a token) of one window, here and in fp16 on the same window.</summary>
public sealed record WindowView(int Window, double MeanNll, double? BaselineMeanNll);

/// <summary>Where a run's figures came from.</summary>
public sealed record ProvenanceView(
    string? EngineVersion, string? EngineSha256, string? EngineBuild, string? Isa, string? PackSha256, string? Recipe, string? SourceSha256,
    string? TokenFileSha256, string? Plan, string? DeviceFingerprint, string? Kernel, string? BootId, string Transport, string Cluster,
    CalibrationView? Calibration = null);

/// <summary>Reads single runs.</summary>
public interface IRunService
{
    /// <summary>One run by id; null when there is none.</summary>
    Task<RunDetailView?> FindAsync(Guid runId, CancellationToken ct = default);
}

/// <summary>Formats of a report.</summary>
public enum ReportFormat { Html, Markdown, Csv, Json }

/// <summary>A rendered report.</summary>
public sealed record ReportFile(string FileName, string ContentType, byte[] Content);

/// <summary>Renders reports from the database.</summary>
public interface IReportService
{
    /// <summary>Renders the matrix as it stands. Throws <see cref="UserErrorException"/> when there is none.</summary>
    Task<ReportFile> RenderAsync(string matrixIdOrName, ReportFormat format, CancellationToken ct = default);
}
