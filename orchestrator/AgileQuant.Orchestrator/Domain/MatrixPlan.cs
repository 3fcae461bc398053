using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>What planning needs to know about a device.</summary>
/// <param name="Kernels">Base precisions that its engine has kernels for; null: not known yet.</param>
public sealed record PlannableDevice(
    Guid Id, string Name, DeviceKind Kind, DeviceState State, string? StateReason, IReadOnlyList<string>? Kernels = null);

/// <summary>What planning needs to know about a model.</summary>
/// <param name="LearnedPositions">It has a vector for each of its positions and none beyond (OPT): the engine cannot run more.</param>
public sealed record PlannableModel(
    Guid Id, string Name, bool RandomWeights, bool HasTokenizer, int ContextLength, ModelShape? Shape = null, bool LearnedPositions = false)
{
    /// <summary>How long its inputs may be, as the end of a sentence.</summary>
    public string Limit => LearnedPositions
        ? $"model {Name} has learned positions for {ContextLength} tokens and none beyond"
        : $"the context of model {Name} is {ContextLength}";
}

/// <summary>What planning needs to know about an evaluation text.</summary>
/// <param name="Sha256">Of its text.</param>
public sealed record PlannableDataset(Guid Id, string Name, string Sha256 = "");

/// <summary>Everything that a spec's names may refer to.</summary>
public sealed record Catalogue(
    IReadOnlyList<PlannableDevice> Devices, IReadOnlyList<PlannableModel> Models, IReadOnlyList<PlannableDataset> Datasets);

/// <summary>A cell of the matrix.</summary>
public sealed record PlannedRun(
    Guid Id, Guid DeviceId, Guid ModelId, string Precision, int WorkloadIndex, string Workload,
    bool AsksSpeed, bool AsksPerplexity, string? Convention, Guid? DatasetId);

/// <summary>One block of a job; <paramref name="Kind"/> is prefill, generate or perplexity.</summary>
public sealed record PlannedBlock(int Index, Guid RunId, string Precision, string Kind, int Round);

/// <summary>A job of a device: timing or perplexity.</summary>
public sealed record PlannedJob(
    Guid Id, Guid DeviceId, Guid ModelId, int WorkloadIndex, string Kind, JobSettings Settings, Guid? DatasetId, IReadOnlyList<PlannedBlock> Blocks);

/// <summary>What a job's plan needs besides its blocks. Stored with the job; the engine's plan is made from it at each attempt.</summary>
/// <param name="Windows">Null: all windows of the text.</param>
public sealed record JobSettings(
    int Threads, int? Prompt, int? Generate, string? Convention, int? Windows,
    int MinRepetitions, int MaxRepetitions, int WarmupMax, double TargetSpread, double CoolDownMarginCelsius, int CoolDownTimeoutSeconds);

/// <summary>A pack that some run needs.</summary>
public sealed record PlannedPack(Guid ModelId, string Precision);

/// <summary>A tokenized text that some run needs.</summary>
public sealed record PlannedTokens(Guid ModelId, Guid DatasetId);

/// <summary>A score of a whole text on a node.</summary>
public sealed record PlannedScore(Guid ModelId, string Precision, Guid DatasetId, string Convention);

/// <summary>A spec worked out: everything that is stored when it starts.</summary>
/// <param name="Calibration">The text of the packs that need one; null when none does.</param>
public sealed record MatrixPlan(
    IReadOnlyList<PlannedRun> Runs, IReadOnlyList<PlannedJob> Jobs, IReadOnlyList<PlannedPack> Packs,
    IReadOnlyList<PlannedTokens> Tokens, IReadOnlyList<PlannedScore> Scores, int GroupSize, int MaxAttempts, IReadOnlyList<string> Warnings,
    PlannableDataset? Calibration = null);
