namespace AgileQuant.Orchestrator.Contracts;

/// <summary>A matrix as a user writes it (YAML or the dashboard): devices x models x precisions x workloads.</summary>
/// <param name="Precisions">Names with options (docs/packed-model.md), for instance <c>w4a4+gptq+trip</c>.</param>
/// <param name="Calibration">Dataset that packs are calibrated on; needed by some precisions, and never one that is scored.</param>
public sealed record MatrixSpec(
    string Name, IReadOnlyList<string> Devices, IReadOnlyList<string> Models, IReadOnlyList<string> Precisions,
    IReadOnlyList<WorkloadSpec> Workloads, PolicySpec Policy, string? Calibration = null);

/// <summary>What each cell runs. Speed is measured when <see cref="Prompt"/> or <see cref="Generate"/> is set, perplexity when <see cref="Dataset"/> is.</summary>
/// <param name="Models">Restricts the workload to these models; empty: all.</param>
/// <param name="Prompt">Tokens of a prefill repetition; null: no prefill timing.</param>
/// <param name="Generate">Tokens of a generation repetition; null: none.</param>
/// <param name="Threads">0: all cores.</param>
/// <param name="Dataset">Evaluation text by name.</param>
/// <param name="Convention"><c>llama.cpp-512</c> or <c>gptq-512</c>; -N is any window length up to the context.</param>
/// <param name="Precisions">Restricts the workload to these precisions and the baseline; null or empty: all.</param>
/// <param name="Devices">Restricts the workload to these devices; null or empty: all.</param>
/// <param name="Windows">How many windows each board scores; null: all. The node scores the whole text once a pack.</param>
public sealed record WorkloadSpec(
    string Name, IReadOnlyList<string> Models, int? Prompt, int? Generate, int Threads, string? Dataset, string? Convention, int? Windows,
    IReadOnlyList<string>? Precisions = null, IReadOnlyList<string>? Devices = null);

/// <summary>How speed is measured. The defaults are those of docs/measurement.md.</summary>
/// <param name="Rounds">Passes over the precisions; each gives one paired block of each (at least 6 for an interval).</param>
/// <param name="GroupSize">Group of int4 weights.</param>
public sealed record PolicySpec(
    int Rounds = 6, int MinRepetitions = 1, int MaxRepetitions = 3, int WarmupMax = 5, double TargetSpread = 0.02,
    int GroupSize = 32, int MaxAttempts = 3, double CoolDownMarginCelsius = 5, int CoolDownTimeoutSeconds = 300);

/// <summary>What starting a spec would do, before it is started.</summary>
public sealed record MatrixPlanView(int Runs, int TimingJobs, int PerplexityJobs, int PackJobs, IReadOnlyList<string> Warnings);

/// <summary>State of a matrix, worked out from its runs: complete when each has all its results or was skipped for a reason known beforehand.</summary>
public enum MatrixState { Running, Cancelling, Cancelled, Complete, Incomplete }

/// <summary>
/// State of a run: incomplete means that it ended without all its results, skipped that it was left out for a reason known
/// beforehand (its device's CPU has no kernel for the precision).
/// </summary>
public enum RunState { Waiting, Packing, Queued, Running, Complete, Incomplete, Cancelled, Skipped }

/// <summary>A matrix in a list.</summary>
/// <param name="Failed">Runs that ended without all their results: incomplete or cancelled.</param>
/// <param name="Skipped">Runs that were left out for a reason known beforehand.</param>
public sealed record MatrixSummaryView(
    Guid Id, string Name, MatrixState State, DateTimeOffset CreatedAt, DateTimeOffset? FinishedAt,
    int Runs, int Complete, int Failed, string CreatedBy, int Skipped = 0);

/// <summary>A matrix with all its cells.</summary>
/// <param name="Baselines">How fast the baseline is, one note for each kernel set that was timed; null in lists of old clients.</param>
public sealed record MatrixView(
    MatrixSummaryView Summary, MatrixSpec Spec, IReadOnlyList<RunSummaryView> Runs, IReadOnlyList<JobView> Jobs,
    IReadOnlyList<BaselineNote>? Baselines = null);

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
/// <param name="Best16">The fastest 16-bit path of the same timing job, <c>fp16</c> or <c>bf16</c>; null: no 16-bit path ran.</param>
/// <param name="OverBest16">Over paired blocks of <paramref name="Best16"/>; null for that path itself.</param>
/// <param name="RowShare">Pruned precisions: rows x layers that ran, as a share of all; null: all.</param>
public sealed record RateView(
    double Median, double MadPercent, int Repetitions, int Outliers, double Burst, double Sustained,
    SpeedupView? Speedup, string? SpeedupNote, string? Best16 = null, SpeedupView? OverBest16 = null, double? RowShare = null);

/// <summary>Ratio over a 16-bit path with a 95% interval by paired bootstrap on log ratios (null bounds: too few blocks for an interval).</summary>
public sealed record SpeedupView(double Ratio, double? Low, double? High, int PairedBlocks);

/// <summary>Accepted perplexity of a run.</summary>
/// <param name="Name">Convention and windows, for instance <c>llama.cpp-512[0:8]</c> or <c>llama.cpp-512[all 192]</c>.</param>
/// <param name="Value">Perplexity on the board's windows.</param>
/// <param name="StandardError">In perplexity units, clustered by window; null with one window.</param>
/// <param name="DeltaPercent">exp(mean paired NLL difference to fp16) - 1, percent, on identical windows; null for fp16 or without it.</param>
/// <param name="NodeAgreement">Largest per-token difference to the node's score of the same pack and windows, in nats; null when not compared.</param>
/// <param name="Full">The node's score of the whole text; null while it is not there.</param>
/// <param name="Survivors">Pruned precisions: the paper's way of scoring. Never the base of a difference.</param>
public sealed record PerplexityView(
    string Name, double Value, double? StandardError, double? DeltaPercent, double? DeltaStandardErrorPercent,
    double? NodeAgreement, FullPerplexityView? Full, SurvivorView? Survivors = null);

/// <summary>The whole text, scored once per pack on a node.</summary>
public sealed record FullPerplexityView(
    string Name, double Value, double? StandardError, double? DeltaPercent, double? DeltaStandardErrorPercent, int Windows, SurvivorView? Survivors = null);

/// <summary>
/// A pruned run scored on the surviving tokens only, as the paper's authors do, with what fp16 has on the same tokens. It is not the
/// quantity that stands beside it: tokens that were pruned, often the hard ones, are left out.
/// </summary>
/// <param name="Value">Perplexity over targets whose predicting position stayed to the end.</param>
/// <param name="BaselineValue">fp16 on the same targets; null while it is not there.</param>
/// <param name="Share">Share of all targets that these are.</param>
public sealed record SurvivorView(double Value, double? BaselineValue, double Share);

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
