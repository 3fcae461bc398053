using System.Diagnostics.CodeAnalysis;

namespace AgileQuant.Engine;

/// <summary>
/// A named way to compute perplexity: <c>gptq-N</c> or <c>llama.cpp-N</c> over windows of N ids that do not overlap
/// (see docs/engine-protocol.md).
/// </summary>
public readonly record struct PerplexityConvention(string Kind, int N)
{
    private const string Gptq = "gptq";
    private const string LlamaCpp = "llama.cpp";

    /// <summary>Scored targets in each window: N-1 for gptq, N-1-N/2 for llama.cpp.</summary>
    public int Targets => Kind == Gptq ? N - 1 : N - 1 - N / 2;

    /// <summary>Index in the window of the first scored target; its prediction comes from the position before it.</summary>
    public int FirstTarget => N - Targets;

    /// <summary>The first id of each window is replaced by BOS if the vocabulary adds one.</summary>
    public bool ReplacesFirstByBos => Kind == LlamaCpp;

    /// <exception cref="FormatException">The text is not <c>gptq-N</c> or <c>llama.cpp-N</c> with N in 4..131072.</exception>
    public static PerplexityConvention Parse(string text) => TryParse(text, out var convention)
        ? convention
        : throw new FormatException(
            $"unknown perplexity convention '{text}'; use llama.cpp-N or gptq-N with N between 4 and 131072, for example llama.cpp-512");

    public static bool TryParse([NotNullWhen(true)] string? text, out PerplexityConvention convention)
    {
        convention = default;
        var dash = text?.LastIndexOf('-') ?? -1;
        if (dash < 0 || text![..dash] is not (Gptq or LlamaCpp)
            || !int.TryParse(text.AsSpan(dash + 1), System.Globalization.NumberStyles.None, null, out var n) || n is < 4 or > 131072)
        {
            return false;
        }

        convention = new PerplexityConvention(text[..dash], n);
        return true;
    }

    /// <summary>Whole windows in a text of that many ids.</summary>
    public int WindowCount(long ids) => (int)Math.Min(ids / N, int.MaxValue);

    /// <summary>The N ids of one window as the model sees them.</summary>
    public int[] Window(TokenData tokens, int window)
    {
        if (window < 0 || window >= WindowCount(tokens.Ids.Count))
        {
            throw new ArgumentOutOfRangeException(
                nameof(window), window, $"the text has {WindowCount(tokens.Ids.Count)} windows of {N} ids");
        }

        var ids = new int[N];
        for (var i = 0; i < N; i++)
            ids[i] = tokens.Ids[window * N + i];
        if (ReplacesFirstByBos && tokens.AddsBos && tokens.BosId >= 0)
            ids[0] = tokens.BosId;
        return ids;
    }

    /// <summary>Perplexity from natural-logarithm NLLs, one array of <see cref="Targets"/> values a window.</summary>
    public double Perplexity(IReadOnlyList<float[]> windowNlls)
    {
        CheckShape(windowNlls);
        double sum = 0;
        foreach (var window in windowNlls)
        {
            double inWindow = 0;
            foreach (var nll in window)
                inWindow += nll;
            sum += inWindow / Targets; // every window has the same count: the mean of means is the overall mean
        }

        return Math.Exp(sum / windowNlls.Count);
    }

    /// <summary>
    /// Standard error of the perplexity as llama.cpp prints it: exp(mean) times the standard error of the mean NLL,
    /// targets taken as independent. null for gptq, which defines none.
    /// </summary>
    public double? StandardError(IReadOnlyList<float[]> windowNlls)
    {
        CheckShape(windowNlls);
        var count = (double)windowNlls.Count * Targets;
        if (Kind != LlamaCpp || count < 2)
            return null;
        var mean = windowNlls.Sum(w => w.Sum(x => (double)x)) / count;
        var variance = windowNlls.Sum(w => w.Sum(x => (x - mean) * (x - mean))) / count;
        return Math.Exp(mean) * Math.Sqrt(variance / (count - 1));
    }

    public override string ToString() => $"{Kind}-{N}";

    private void CheckShape(IReadOnlyList<float[]> windowNlls)
    {
        var targets = Targets;
        if (windowNlls.Count == 0 || windowNlls.Any(w => w.Length != targets))
            throw new ArgumentException($"{this} needs at least one window, each with {targets} values", nameof(windowNlls));
    }
}
