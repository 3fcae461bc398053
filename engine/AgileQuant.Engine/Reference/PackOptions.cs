using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Import;

namespace AgileQuant.Engine.Reference;

/// <summary>What the <c>agilequant.*</c> keys of a pack say about its arithmetic (docs/packed-model.md, "Format 2").</summary>
internal sealed class PackOptions
{
    /// <summary>Linear inputs of a layer, in the order of <c>agilequant.activation_limits</c>.</summary>
    public static readonly string[] InputNames = ["attn_in", "attn_out", "ffn_in", "ffn_mid"];

    /// <summary>7 or 127, <c>[layers * 4]</c></summary>
    public required int[] ActivationLimits { get; init; }

    public required ProbabilityFormat Probabilities { get; init; }

    /// <summary>The id that a prompt begins with; null: thresholds are the same for all prompts.</summary>
    public int? StartToken { get; init; }

    /// <summary>Importance below which a token carries 4-bit activations, <c>[2][layers]</c>, the second of prompts with another start; empty: none does.</summary>
    public required float[][] LowThresholds { get; init; }

    /// <summary>Importance below which a token leaves, <c>[2][layers]</c>, the second of prompts with another start; empty: none does.</summary>
    public required float[][] PruneThresholds { get; init; }

    /// <summary>The paper's way: share of the rows that stay, <c>[layers]</c>; empty: another way or none.</summary>
    public required float[] PruneKeep { get; init; }

    public required int KvBits { get; init; }

    public int GroupSize { get; init; }

    /// <exception cref="ModelFormatException">A value or a length is wrong.</exception>
    public static PackOptions Read(GgufFile pack, ModelShape shape)
    {
        var keys = pack.Metadata;
        var isFourBit = keys.Integer("agilequant.activation_bits") == 4;
        var mode = keys.Text("agilequant.prune.mode");
        if (mode is not (null or "threshold" or "paper"))
            throw Bad($"agilequant.prune.mode is '{mode}'");
        var options = new PackOptions
        {
            ActivationLimits = Limits() ?? [.. Enumerable.Repeat(isFourBit ? 7 : 127, 4 * shape.Layers)],
            Probabilities = keys.Text("agilequant.probabilities") switch
            {
                null => isFourBit ? ProbabilityFormat.Log2 : ProbabilityFormat.Full,
                "fp32" => ProbabilityFormat.Full,
                "log2" => ProbabilityFormat.Log2,
                "uniform" => ProbabilityFormat.Uniform,
                var other => throw Bad($"agilequant.probabilities is '{other}'"),
            },
            StartToken = keys.Integer("agilequant.start_token"),
            LowThresholds = Thresholds("agilequant.low.thresholds", keys.Contains("agilequant.low.ratio") || keys.Contains("agilequant.low.thresholds")),
            PruneThresholds = Thresholds("agilequant.prune.thresholds", mode == "threshold"),
            PruneKeep = PerLayer("agilequant.prune.keep", mode == "paper"),
            KvBits = keys.Integer("agilequant.kv_bits") ?? 16,
            GroupSize = keys.Integer("agilequant.group_size") ?? 0,
        };
        if (options.KvBits is not (8 or 16))
            throw Bad($"agilequant.kv_bits is {options.KvBits}");
        if (options.PruneKeep.Any(k => k > 1))
            throw Bad("agilequant.prune.keep has a share above 1");
        return options;

        int[]? Limits()
        {
            if (!keys.TryGet<uint[]>("agilequant.activation_limits", out var limits))
                return null;
            return limits.Length == 4 * shape.Layers && limits.All(l => l is 7 or 127)
                ? Array.ConvertAll(limits, l => (int)l)
                : throw Bad($"agilequant.activation_limits must hold 7 or 127, {4 * shape.Layers} values");
        }

        float[][] Thresholds(string key, bool needed)
        {
            var first = PerLayer(key, needed);
            return [first, keys.Contains(key + "_other") ? PerLayer(key + "_other", needed) : first];
        }

        float[] PerLayer(string key, bool needed)
        {
            if (!needed)
                return [];
            return keys.TryGet<float[]>(key, out var values) && values.Length == shape.Layers && values.All(v => v >= 0)
                ? values
                : throw Bad($"{key} must hold {shape.Layers} values that are not negative");
        }

        ModelFormatException Bad(string problem) => new($"{pack.Path}: {problem}");
    }
}
