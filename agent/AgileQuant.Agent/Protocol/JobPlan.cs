using System.Globalization;
using System.Text;

namespace AgileQuant.Agent.Protocol;

public enum JobKind
{
    Timing,
    Perplexity,
}

public enum BlockKind
{
    Prefill,
    Generate,
    Perplexity,
}

public enum PerplexityConvention
{
    /// <summary><c>llama.cpp N</c></summary>
    LlamaCpp,

    /// <summary><c>gptq N</c></summary>
    Gptq,
}

/// <summary>One step of a job. <paramref name="MinRepetitions"/> and <paramref name="MaxRepetitions"/> are 1 for perplexity.</summary>
/// <param name="Index">Unique in a job, kept across attempts.</param>
/// <param name="Pack">Name of a pack of the plan.</param>
/// <param name="Kind">What is done.</param>
/// <param name="MinRepetitions">Repetitions that always run.</param>
/// <param name="MaxRepetitions">Repetitions that run while the spread is above the target.</param>
public sealed record PlanBlock(int Index, string Pack, BlockKind Kind, int MinRepetitions, int MaxRepetitions);

/// <summary>A pack under the name its blocks use.</summary>
public sealed record PlanPack(string Name, string Sha256);

/// <summary>Token file, convention and windows of a perplexity job.</summary>
public sealed record PerplexityPlan(
    string TokensSha256, PerplexityConvention Convention, int WindowLength, int FirstWindow, int WindowCount);

/// <summary>What an engine is to do: docs/engine-protocol.md, "Plan".</summary>
public sealed record JobPlan
{
    public const int FormatVersion = 1;

    /// <summary>Largest plan the engine accepts, in bytes.</summary>
    public const int MaxBytes = 1 << 20;

    /// <summary>Limits of the engine.</summary>
    public const int MaxBlocks = 4096;

    public const int MaxPacks = 64;

    public const int MaxRepetitions = 100_000;

    public required string Attempt { get; init; }

    public required JobKind Kind { get; init; }

    public required int Threads { get; init; }

    /// <summary>Positions in the KV cache.</summary>
    public required int Context { get; init; }

    public required IReadOnlyList<PlanPack> Packs { get; init; }

    public required IReadOnlyList<PlanBlock> Blocks { get; init; }

    /// <summary><c>auto</c>, or a kernel set by name.</summary>
    public string Isa { get; init; } = "auto";

    /// <summary>Pin to these logical CPUs; empty: do not pin.</summary>
    public IReadOnlyList<int> Cpus { get; init; } = [];

    /// <summary>Rows of a prefill step.</summary>
    public int MicroBatch { get; init; } = 512;

    /// <summary>Timing: tokens of a prefill repetition.</summary>
    public int? PromptTokens { get; init; }

    /// <summary>Timing: tokens of a generation repetition.</summary>
    public int? GenerateTokens { get; init; }

    public PerplexityPlan? Perplexity { get; init; }

    public int TelemetryMilliseconds { get; init; } = 500;

    public int WarmupMax { get; init; } = 5;

    /// <summary>Wanted relative half-width of the 95% interval of the mean.</summary>
    public double TargetSpread { get; init; } = 0.02;

    /// <summary>The plan as the engine reads it: UTF-8 lines, LF.</summary>
    /// <exception cref="InvalidOperationException">The plan contradicts itself; the message says where.</exception>
    public string ToText()
    {
        Validate();
        var text = new StringBuilder();
        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');

        Line($"agilequant-plan {FormatVersion}");
        Line($"attempt {Attempt}");
        Line($"kind {(Kind == JobKind.Timing ? "timing" : "perplexity")}");
        Line($"threads {Threads}");
        Line($"isa {Isa}");
        if (Cpus.Count > 0)
            Line($"cpus {string.Join(',', Cpus)}");
        Line($"context {Context}");
        Line($"ubatch {MicroBatch}");
        foreach (var pack in Packs)
            Line($"pack {pack.Name} {pack.Sha256}");
        if (PromptTokens is { } prompt)
            Line($"prompt {prompt}");
        if (GenerateTokens is { } generate)
            Line($"generate {generate}");
        if (Perplexity is { } p)
        {
            Line($"tokens {p.TokensSha256}");
            Line($"convention {(p.Convention == PerplexityConvention.LlamaCpp ? "llama.cpp" : "gptq")} {p.WindowLength}");
            Line($"windows {p.FirstWindow} {p.WindowCount}");
        }

        Line($"telemetry-ms {TelemetryMilliseconds}");
        Line($"warmup-max {WarmupMax}");
        Line($"target-spread {TargetSpread.ToString("0.######", CultureInfo.InvariantCulture)}");
        foreach (var block in Blocks)
            Line($"block {block.Index} {block.Pack} {Name(block.Kind)} {block.MinRepetitions} {block.MaxRepetitions}");
        return text.ToString();
    }

    private static string Name(BlockKind kind) => kind switch
    {
        BlockKind.Prefill => "prefill",
        BlockKind.Generate => "generate",
        _ => "perplexity",
    };

    private void Validate()
    {
        Require(Names.IsAttempt(Attempt), $"attempt '{Attempt}' must be letters, digits and '-'");
        Require(Threads > 0 && Context > 0 && MicroBatch > 0, "threads, context and micro-batch must be positive");
        Require(Names.IsWord(Isa), $"isa '{Isa}' is no plain word");
        Require(Blocks.Count is > 0 and <= MaxBlocks, $"it has {Blocks.Count} blocks, 1 to {MaxBlocks} are possible");
        Require(Packs.Count <= MaxPacks, $"it has more than {MaxPacks} packs");
        Require(Packs.All(p => Names.IsWord(p.Name) && Names.IsSha256(p.Sha256)), "a pack has no plain name or no SHA-256");
        Require(Packs.Select(p => p.Name).Distinct().Count() == Packs.Count, "two packs have one name");
        Require(Blocks.Select(b => b.Index).Distinct().Count() == Blocks.Count, "two blocks have one index");
        foreach (var block in Blocks)
        {
            Require(Packs.Any(p => p.Name == block.Pack), $"block {block.Index} names the pack '{block.Pack}', which is not there");
            Require(block.Index >= 0 && block.MinRepetitions > 0 && block.MaxRepetitions >= block.MinRepetitions
                    && block.MaxRepetitions <= MaxRepetitions,
                $"block {block.Index} needs 1 <= min <= max <= {MaxRepetitions} repetitions");
            Require(block.Kind == BlockKind.Perplexity == (Kind == JobKind.Perplexity), $"block {block.Index} is of another kind than the job");
            Require(block.Kind != BlockKind.Prefill || PromptTokens > 0, $"block {block.Index} needs a number of prompt tokens");
            Require(block.Kind != BlockKind.Generate || GenerateTokens > 0, $"block {block.Index} needs a number of tokens to generate");
        }

        Require(Kind == JobKind.Perplexity == (Perplexity is not null), "a perplexity job, and only that, has token file and windows");
        if (Perplexity is { } p)
            Require(Names.IsSha256(p.TokensSha256) && p.WindowLength > 1 && p.FirstWindow >= 0 && p.WindowCount > 0, "its windows are bad");
    }

    private static void Require(bool holds, string problem)
    {
        if (!holds)
            throw new InvalidOperationException($"The job plan cannot be written: {problem}.");
    }
}
