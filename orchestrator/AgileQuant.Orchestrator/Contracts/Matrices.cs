namespace AgileQuant.Orchestrator.Contracts;

/// <summary>A matrix as a user writes it (YAML or the dashboard): devices x models x precisions x workloads.</summary>
public sealed record MatrixSpec(
    string Name, IReadOnlyList<string> Devices, IReadOnlyList<string> Models, IReadOnlyList<string> Precisions,
    IReadOnlyList<WorkloadSpec> Workloads, PolicySpec Policy);

/// <summary>What each cell runs. Speed is measured when <see cref="Prompt"/> or <see cref="Generate"/> is set, perplexity when <see cref="Dataset"/> is.</summary>
/// <param name="Models">Restricts the workload to these models; empty: all.</param>
/// <param name="Prompt">Tokens of a prefill repetition; null: no prefill timing.</param>
/// <param name="Generate">Tokens of a generation repetition; null: none.</param>
/// <param name="Threads">0: all cores.</param>
/// <param name="Dataset">Evaluation text by name.</param>
/// <param name="Convention"><c>llama.cpp-512</c> or <c>gptq-512</c>; -N is any window length up to the context.</param>
/// <param name="Windows">How many windows each board scores; null: all. The node scores the whole text once a pack.</param>
public sealed record WorkloadSpec(
    string Name, IReadOnlyList<string> Models, int? Prompt, int? Generate, int Threads, string? Dataset, string? Convention, int? Windows);

/// <summary>How speed is measured. The defaults are those of docs/measurement.md.</summary>
/// <param name="Rounds">Passes over the precisions; each gives one paired block of each (at least 6 for an interval).</param>
/// <param name="GroupSize">Group of int4 weights.</param>
public sealed record PolicySpec(
    int Rounds = 6, int MinRepetitions = 1, int MaxRepetitions = 3, int WarmupMax = 5, double TargetSpread = 0.02,
    int GroupSize = 32, int MaxAttempts = 3, double CoolDownMarginCelsius = 5, int CoolDownTimeoutSeconds = 300);

/// <summary>What starting a spec would do, before it is started.</summary>
public sealed record MatrixPlanView(int Runs, int TimingJobs, int PerplexityJobs, int PackJobs, IReadOnlyList<string> Warnings);

/// <summary>State of a matrix, worked out from its runs.</summary>
public enum MatrixState { Running, Cancelling, Cancelled, Complete, Incomplete }

/// <summary>State of a run: incomplete means that it ended without all its results.</summary>
public enum RunState { Waiting, Packing, Queued, Running, Complete, Incomplete, Cancelled }

/// <summary>A matrix in a list.</summary>
public sealed record MatrixSummaryView(
    Guid Id, string Name, MatrixState State, DateTimeOffset CreatedAt, DateTimeOffset? FinishedAt,
    int Runs, int Complete, int Failed, string CreatedBy);

/// <summary>A matrix with all its cells.</summary>
public sealed record MatrixView(MatrixSummaryView Summary, MatrixSpec Spec, IReadOnlyList<RunSummaryView> Runs, IReadOnlyList<JobView> Jobs);

/// <summary>A cell: one device x model x precision x workload.</summary>
public sealed record RunSummaryView(
    Guid Id, Guid MatrixId, Guid DeviceId, string Device, DeviceKind DeviceKind, string Model, bool RandomWeights, string Precision,
    string Workload, RunState State, string? Reason, SpeedView? Speed, PerplexityView? Perplexity, GradeView? Grade, long? PackBytes);

/// <summary>Accepted speed of a run. Rates are tokens a second; null where the workload does not ask for that kind.</summary>
public sealed record SpeedView(RateView? Prefill, RateView? Generation, long? PeakMemoryBytes, string Isa, int Threads);

/// <summary>One rate: median over all counted repetitions, with its spread and its speedup over fp16.</summary>
/// <param name="Median">Tokens a second.</param>
/// <param name="MadPercent">Median absolute deviation, percent of the median.</param>
/// <param name="Burst">Median of the first block's repetitions.</param>
/// <param name="Sustained">Median over the last third of the job's repetitions of this precision.</param>
/// <param name="Speedup">Over paired fp16 blocks; null for fp16 itself or without a baseline, then <paramref name="SpeedupNote"/> says why.</param>
public sealed record RateView(
    double Median, double MadPercent, int Repetitions, int Outliers, double Burst, double Sustained,
    SpeedupView? Speedup, string? SpeedupNote);

/// <summary>Ratio over fp16 with a 95% interval by paired bootstrap on log ratios (null bounds: too few blocks for an interval).</summary>
public sealed record SpeedupView(double Ratio, double? Low, double? High, int PairedBlocks);

/// <summary>Accepted perplexity of a run.</summary>
/// <param name="Name">Convention and windows, for instance <c>llama.cpp-512[0:8]</c> or <c>llama.cpp-512[all 192]</c>.</param>
/// <param name="Value">Perplexity on the board's windows.</param>
/// <param name="StandardError">In perplexity units, clustered by window; null with one window.</param>
/// <param name="DeltaPercent">exp(mean paired NLL difference to fp16) - 1, percent, on identical windows; null for fp16 or without it.</param>
/// <param name="NodeAgreement">Largest per-token difference to the node's score of the same pack and windows, in nats; null when not compared.</param>
/// <param name="Full">The node's score of the whole text; null while it is not there.</param>
public sealed record PerplexityView(
    string Name, double Value, double? StandardError, double? DeltaPercent, double? DeltaStandardErrorPercent,
    double? NodeAgreement, FullPerplexityView? Full);

/// <summary>The whole text, scored once per pack on a node.</summary>
public sealed record FullPerplexityView(string Name, double Value, double? StandardError, double? DeltaPercent, double? DeltaStandardErrorPercent, int Windows);

/// <summary>Trust grade A to D with its reasons in words.</summary>
public sealed record GradeView(char Grade, IReadOnlyList<string> Reasons);

/// <summary>What executes on a board (timing, perplexity) or on a node (pack, score).</summary>
public sealed record JobView(
    Guid Id, string Kind, string? Device, string Model, string? Precision, string State, string? Reason, int Attempts, double Progress,
    DateTimeOffset CreatedAt, DateTimeOffset? StartedAt, DateTimeOffset? FinishedAt);

/// <summary>Plans, starts, follows and cancels matrices.</summary>
public interface IMatrixService
{
    /// <summary>Checks a spec and says what it would do. Throws <see cref="UserErrorException"/> when it cannot be run.</summary>
    Task<MatrixPlanView> PlanAsync(MatrixSpec spec, CancellationToken ct = default);

    /// <summary>Stores the matrix with all its runs and jobs in one transaction; work starts by itself.</summary>
    Task<Guid> StartAsync(MatrixSpec spec, string createdBy, CancellationToken ct = default);

    /// <summary>Newest first, at most <paramref name="limit"/>.</summary>
    Task<IReadOnlyList<MatrixSummaryView>> ListAsync(int limit = 100, CancellationToken ct = default);

    /// <summary>One matrix by id, unique id prefix, or name (the newest of that name); null when there is none.</summary>
    Task<MatrixView?> FindAsync(string idOrName, CancellationToken ct = default);

    /// <summary>Asks for cancellation; finished results stay.</summary>
    Task CancelAsync(Guid matrixId, string requestedBy, CancellationToken ct = default);
}
