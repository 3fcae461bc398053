namespace AgileQuant.Engine;

/// <summary>One recipe of an ablation.</summary>
/// <param name="Group">What is compared: <c>weights</c>, <c>probabilities</c>, <c>activations</c>, <c>4-bit tokens</c>, <c>pruning</c>, ...</param>
/// <param name="Precision">Of the pack.</param>
/// <param name="Dense">The same without pruning or 4-bit tokens; the recipe itself when it has neither.</param>
public sealed record AblationStep(string Group, Precision Precision, Precision Dense);

/// <summary>What a recipe scored at one input length. All values are natural-logarithm means over targets, NLL.</summary>
/// <param name="Group">As in the step.</param>
/// <param name="Precision">Canonical name.</param>
/// <param name="Length">Ids in a window, convention <c>gptq-N</c>.</param>
/// <param name="Windows">Windows scored.</param>
/// <param name="All">Every target, pruned positions scored from the residual they left with.</param>
/// <param name="Full">fp16 on the same targets.</param>
/// <param name="Dense">The recipe without pruning, every target.</param>
/// <param name="Survivors">Only targets whose position stayed to the end (the paper's way); null for a recipe that does not prune.</param>
/// <param name="FullOnSurvivors">fp16 on those.</param>
/// <param name="SurvivorShare">Share of the targets that they are.</param>
public sealed record AblationRow(
    string Group, string Precision, int Length, int Windows, double All, double Full, double Dense, double? Survivors,
    double? FullOnSurvivors, double? SurvivorShare)
{
    /// <summary><c>ln(PPL / PPL fp16)</c>, every target scored.</summary>
    public double Loss => All - Full;

    /// <summary>What pruning seems to gain when survivors alone are scored, as in the paper: dense, all targets, minus pruned, survivors.</summary>
    public double? ApparentGain => Dense - Survivors;

    /// <summary>The part of it that is the choice of targets: fp16 on all minus fp16 on the survivors.</summary>
    public double? GainByScoring => Full - FullOnSurvivors;

    /// <summary>What pruning really gains (negative: costs): dense minus pruned, every target.</summary>
    public double? RealGain => Survivors is null ? null : Dense - All;
}

/// <summary>
/// The paper's ablations: rounding and GPTQ, attention probabilities in fp32, log2 and uniform 4 bits, TRIP, 4-bit tokens by share,
/// pruning by ratio in both modes.
/// </summary>
public static class Ablation
{
    private static readonly string[] Ratios = ["0.1", "0.2", "0.4", "0.6", "0.8"];

    /// <param name="calibrated">A calibration text is there; without one, recipes that need it are left out.</param>
    /// <returns>fp16 first, every precision once.</returns>
    public static IReadOnlyList<AblationStep> Steps(bool calibrated)
    {
        List<(string Group, string Name)> names =
        [
            ("baseline", "fp16"), ("weights", "w8a8"), ("weights", "w4a8"), ("weights", "w4a8+asym"), ("weights", "w8a8+gptq"),
            ("weights", "w4a8+gptq"), ("weights", "w4a8+gptq+asym"), ("probabilities", "w4a8+log2"), ("probabilities", "w4a8+uniform"),
            ("probabilities", "w4a4+softmax"), ("probabilities", "w4a4+uniform"), ("activations", "w4a4"), ("activations", "w4a4+gptq"),
            ("activations", "w4a4+trip"), ("activations", "w4a4+gptq+trip"), ("activations", "w4a4+gptq+trip-static"),
            ("activations", "w4a4+gptq+trip+mixed"), ("activations", "w4a4+gptq+trip+mixed+softmax"), ("cache", "w4a8+kv8"),
        ];
        names.AddRange(((string[])["0.25", "0.5", "0.75"]).Select(r => ("4-bit tokens", "w4a8+gptq+low" + r)));
        foreach (var mode in (string[])["prune", "prune-paper"])
            names.AddRange(Ratios.Select(r => ("pruning", $"w4a8+{mode}{r}")));
        return [.. names.Select(n => Step(n.Group, Precision.Parse(n.Name))).Where(s => calibrated || !s.Precision.NeedsCalibration)];
    }

    /// <summary>A step for a precision somebody chose.</summary>
    public static AblationStep Step(string group, Precision precision) => new(
        group, precision, precision.Base.With(precision.Options with { Prune = PruneMode.None, PruneRatio = 0, LowRatio = 0 }));

    /// <summary>Puts one recipe's scores beside those of fp16 and of the recipe without pruning.</summary>
    /// <param name="step">The recipe.</param>
    /// <param name="length">Ids in a window.</param>
    /// <param name="nlls">Its NLLs, <c>[windows][targets]</c>.</param>
    /// <param name="full">Those of fp16.</param>
    /// <param name="dense">Those of <see cref="AblationStep.Dense"/>.</param>
    /// <param name="survivors">1 for each target whose position stayed, <c>[windows * targets]</c>; null for a recipe that does not prune.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static AblationRow Row(
        AblationStep step, int length, float[][] nlls, float[][] full, float[][] dense, ReadOnlySpan<byte> survivors)
    {
        var (all, fullAll, denseAll) = (nlls.SelectMany(w => w).ToArray(), full.SelectMany(w => w).ToArray(), dense.SelectMany(w => w).ToArray());
        if (all.Length == 0 || fullAll.Length != all.Length || denseAll.Length != all.Length)
            throw new ArgumentException("the recipe, fp16 and the dense recipe must have the same targets");
        var row = new AblationRow(step.Group, step.Precision.ToString(), length, nlls.Length, Mean(all), Mean(fullAll), Mean(denseAll), null, null, null);
        if (!step.Precision.Prunes)
            return row;
        if (survivors.Length != all.Length)
            throw new ArgumentException($"{survivors.Length} survivor flags for {all.Length} targets", nameof(survivors));
        var flags = survivors.ToArray();
        var stayed = Enumerable.Range(0, all.Length).Where(i => flags[i] != 0).ToArray();
        if (stayed.Length == 0)
            return row with { SurvivorShare = 0 };
        return row with
        {
            Survivors = Mean([.. stayed.Select(i => all[i])]),
            FullOnSurvivors = Mean([.. stayed.Select(i => fullAll[i])]),
            SurvivorShare = (double)stayed.Length / all.Length,
        };
    }

    private static double Mean(float[] values) => values.Sum(v => (double)v) / values.Length;
}
