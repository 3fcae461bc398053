using AgileQuant.Agent.Protocol;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Packing;

/// <summary>Makes the engine's plan from a job and the blocks that are still to do. Pure.</summary>
public static class EnginePlan
{
    /// <param name="attempt">Its id.</param>
    /// <param name="settings">The job's settings.</param>
    /// <param name="todo">Blocks to run, in order, each with a pack.</param>
    /// <param name="cores">Cores of the board, for threads = 0.</param>
    /// <param name="tokens">Perplexity: SHA-256 of the token file and its number of ids.</param>
    public static JobPlan For(Guid attempt, JobSettings settings, IReadOnlyList<BlockRow> todo, int cores, (string Sha256, long Ids)? tokens)
    {
        var timing = tokens is null;
        return new JobPlan
        {
            Attempt = attempt.ToString(),
            Kind = timing ? JobKind.Timing : JobKind.Perplexity,
            Threads = settings.Threads > 0 ? settings.Threads : Math.Max(1, cores),
            Context = Context(settings, timing),
            Packs = [.. todo.GroupBy(b => b.Precision).Select(g => new PlanPack(g.Key, g.First().PackSha256!))],
            PromptTokens = timing ? settings.Prompt : null,
            GenerateTokens = timing ? settings.Generate : null,
            Perplexity = tokens is { } t ? PerplexityOf(t.Sha256, Engine.PerplexityConvention.Parse(settings.Convention!), Windows(settings, t.Ids)) : null,
            WarmupMax = settings.WarmupMax,
            TargetSpread = settings.TargetSpread,
            Blocks = [.. todo.Select(b => new PlanBlock(
                b.Index, b.Precision, KindOf(b.Kind), timing ? settings.MinRepetitions : 1, timing ? settings.MaxRepetitions : 1))],
        };
    }

    /// <summary>Positions in the KV cache: the longest repetition (generation starts from one token), or the window.</summary>
    public static int Context(JobSettings settings, bool timing) => timing
        ? Math.Max(settings.Prompt ?? 0, (settings.Generate ?? -1) + 1)
        : Engine.PerplexityConvention.Parse(settings.Convention!).N;

    /// <summary>Windows a job scores: as many as were asked for and the text has; 0 when it is too short for one.</summary>
    public static int Windows(JobSettings settings, long ids)
    {
        var all = Engine.PerplexityConvention.Parse(settings.Convention!).WindowCount(ids);
        return Math.Min(settings.Windows ?? int.MaxValue, all);
    }

    public static PerplexityPlan PerplexityOf(string tokensSha256, Engine.PerplexityConvention convention, int windows) => new(
        tokensSha256, convention.Kind == "gptq" ? PerplexityConvention.Gptq : PerplexityConvention.LlamaCpp, convention.N, 0, windows);

    private static BlockKind KindOf(string kind) => kind switch
    {
        "prefill" => BlockKind.Prefill,
        "generate" => BlockKind.Generate,
        _ => BlockKind.Perplexity,
    };
}
