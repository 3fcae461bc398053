using System.Globalization;

namespace AgileQuant.Engine;

/// <summary>Reads the names of precisions and says what is wrong with one (docs/packed-model.md, "Precision names").</summary>
internal static class PrecisionName
{
    private const decimal MostTokens = 0.9m;

    /// <returns>null when the text is a supported precision, else what to tell the user.</returns>
    public static string? Read(string? text, out Precision precision)
    {
        precision = default;
        var parts = (text ?? "").Trim().ToLowerInvariant().Split('+');
        var found = Precision.Bases.Where(b => b.ToString() == parts[0]).ToList();
        if (found.Count == 0)
            return $"unknown precision '{text}'; this version supports {string.Join(", ", Precision.Bases)}, with options after a plus sign: w4a4+gptq+trip";
        var options = PrecisionOptions.None;
        foreach (var part in parts.Skip(1))
        {
            var (changed, problem) = Apply(options, part);
            if (problem is null && changed == options)
                problem = $"the option '{part}' stands twice";
            if (problem is not null)
                return $"precision '{text}': {problem}";
            options = changed;
        }

        if (Problem(found[0], options) is { } contradiction)
            return $"precision '{text}': {contradiction}";
        precision = found[0].Canonical(options);
        return null;
    }

    /// <returns>null when the options go with the base and with each other.</returns>
    public static string? Problem(Precision @base, PrecisionOptions options)
    {
        if (@base.Is16Bit && options with { Int8KeyValues = false } != PrecisionOptions.None)
            return $"{@base} takes no option but kv8; the others are for w8a8, w4a8 and w4a4";
        if (options.Asymmetric && @base.WeightBits != 4)
            return "asym is for int4 weights: w4a8 and w4a4";
        if (options.Mixed && @base.WeightBits != 4)
            return "mixed is for w4a8 and w4a4; in w8a8 everything has 8 bits already";
        if (options.LowRatio != 0 && @base.ActivationBits != 8)
            return "low is for 8-bit activations: w8a8 and w4a8";
        if (options.LowRatio != 0 && options.Trip == TripMode.Static)
            return "low needs a scale for each token: use trip instead of trip-static";
        if (options.LowRatio != 0 && !InRange(options.LowRatio))
            return $"the share {options.LowRatio} of low is not above 0 and at most {MostTokens}";
        if ((options.Prune != PruneMode.None || options.PruneRatio != 0) && (options.Prune == PruneMode.None || !InRange(options.PruneRatio)))
            return $"the share {options.PruneRatio} of prune is not above 0 and at most {MostTokens}";
        return null;
    }

    private static (PrecisionOptions Changed, string? Problem) Apply(PrecisionOptions options, string part)
    {
        switch (part)
        {
            case "gptq":
                return (options with { Gptq = true }, null);
            case "asym":
                return (options with { Asymmetric = true }, null);
            case "mixed":
                return (options with { Mixed = true }, null);
            case "kv8":
                return (options with { Int8KeyValues = true }, null);
            case "trip" or "trip-static":
                var trip = part == "trip" ? TripMode.Dynamic : TripMode.Static;
                return options.Trip is TripMode.None || options.Trip == trip
                    ? (options with { Trip = trip }, null)
                    : (options, "trip and trip-static exclude each other");
            case "log2" or "uniform" or "softmax":
                var format = part switch { "log2" => ProbabilityFormat.Log2, "uniform" => ProbabilityFormat.Uniform, _ => ProbabilityFormat.Full };
                return options.Probabilities is null || options.Probabilities == format
                    ? (options with { Probabilities = format }, null)
                    : (options, $"{PrecisionOptions.NameOf(options.Probabilities.Value)} and {part} exclude each other");
            default:
                return ApplyShare(options, part);
        }
    }

    private static (PrecisionOptions Changed, string? Problem) ApplyShare(PrecisionOptions options, string part)
    {
        string[] names = ["prune-paper", "prune", "low"]; // the longer of two with one beginning first
        if (names.FirstOrDefault(n => part.StartsWith(n, StringComparison.Ordinal)) is not { } name)
        {
            return (options, $"the option '{part}' is unknown; there are gptq, asym, trip, trip-static, mixed, log2, uniform, softmax, "
                + "low0.5, prune0.2, prune-paper0.2 and kv8");
        }

        if (!decimal.TryParse(part.AsSpan(name.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var share)
            || !InRange(share) || share != decimal.Round(share, 3))
        {
            return (options, $"'{part}' needs a share above 0 and at most {MostTokens} with at most three decimals behind {name}, for example {name}0.2");
        }

        if (name == "low")
        {
            return options.LowRatio != 0 && options.LowRatio != share
                ? (options, "low stands twice")
                : (options with { LowRatio = share }, null);
        }

        var mode = name == "prune" ? PruneMode.Threshold : PruneMode.Paper;
        if (options.Prune != PruneMode.None && (options.Prune != mode || options.PruneRatio != share))
            return (options, options.Prune == mode ? $"{name} stands twice" : "prune and prune-paper exclude each other");
        return (options with { Prune = mode, PruneRatio = share }, null);
    }

    private static bool InRange(decimal share) => share is > 0 and <= MostTokens;
}
