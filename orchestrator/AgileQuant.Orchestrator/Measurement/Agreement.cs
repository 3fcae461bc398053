using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Orchestrator.Measurement;

/// <summary>Whether a board's perplexity windows agree with the node's score of the same pack, token by token.</summary>
public static class Agreement
{
    /// <summary>
    /// Largest difference of a token's NLL, in nats, between two machines that run the same pack correctly. Integer
    /// products are exact, so what differs is fp32 order of addition, exp, and activations that fall on the other side of a
    /// rounding step. With 8-bit activations the steps are fine: 0.02 nat.
    /// </summary>
    public const double Tolerance = 0.02;

    /// <summary>
    /// fp16 and bf16 packs: CPUs that have it multiply them in 16-bit arithmetic (fp16 chains of at most 32 products, bf16 inputs), others
    /// in fp32. That moved a token of a real model by up to 0.1 nat.
    /// </summary>
    public const double Tolerance16Bit = 0.25;

    /// <summary>16-bit arithmetic: but its roundings cancel over a window, whose mean must agree within this many nats.</summary>
    public const double WindowTolerance16Bit = 0.005;

    /// <summary>
    /// 4-bit activations: one value in 15 steps that rounds the other way moves a token by a tenth of a nat and more, and
    /// later layers amplify it. Single tokens may differ this much.
    /// </summary>
    public const double Tolerance4Bit = 1.5;

    /// <summary>4-bit steps and pruning: but over a window such differences cancel; its mean must agree within this many nats.</summary>
    public const double WindowTolerance4Bit = 0.02;

    /// <summary>How far a single token of a precision may be from the node's, in nats.</summary>
    /// <remarks>
    /// A token that lies on a pruning threshold may leave on one machine and stay on the other, and then differs by whatever the
    /// layers would have added: single tokens of a pruned pack have no bound, their window's mean has.
    /// </remarks>
    public static double TokenTolerance(string precision) =>
        PrecisionNames.IsPruned(precision) ? double.PositiveInfinity
        : PrecisionNames.IsCoarse(precision) ? Tolerance4Bit
        : IsSixteenBit(precision) ? Tolerance16Bit
        : Tolerance;

    /// <summary>Largest difference of a token over all windows both have, in nats.</summary>
    public static double LargestDifference(IReadOnlyList<float[]> board, IReadOnlyList<float[]> node)
    {
        double largest = 0;
        foreach (var (a, b) in board.Zip(node))
        {
            if (a.Length != b.Length)
                return double.PositiveInfinity;
            for (var i = 0; i < a.Length; i++)
            {
                var difference = Math.Abs((double)a[i] - b[i]);
                largest = difference <= largest ? largest : double.IsNaN(difference) ? double.PositiveInfinity : difference;
            }
        }

        return largest;
    }

    /// <summary>Null when they agree; else why the board is wrong, in words.</summary>
    public static string? Problem(string precision, IReadOnlyList<float[]> board, IReadOnlyList<float[]> node)
    {
        var largest = LargestDifference(board, node);
        double? mean = PrecisionNames.IsCoarse(precision) || PrecisionNames.IsPruned(precision) ? WindowTolerance4Bit
            : IsSixteenBit(precision) ? WindowTolerance16Bit
            : null;
        var tolerance = TokenTolerance(precision);
        if (!(largest <= tolerance) || double.IsInfinity(largest))
            return $"perplexity disagrees with the node: a {precision} token differs by {largest:0.####} nat, at most {tolerance} is right";
        if (mean is null)
            return null;
        var window = board.Zip(node, (a, b) => Math.Abs(PerplexityFigures.Mean(a) - PerplexityFigures.Mean(b))).DefaultIfEmpty(0).Max();
        return window <= mean
            ? null
            : $"perplexity disagrees with the node: a {precision} window's mean differs by {window:0.####} nat, at most {mean} is right";
    }

    private static bool IsSixteenBit(string precision) => PrecisionNames.IsSixteenBit(PrecisionNames.Base(precision));
}
