using System.Text.Json;
using AgileQuant.Host.Api;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Demo;

/// <summary>What the demo measures; pure.</summary>
internal static class DemoPlan
{
    public const string Matrix = "demo";

    /// <summary>The trained samples, one of each architecture, LLaMA first.</summary>
    public static readonly IReadOnlyList<string> QualityModels = ["docs-llama", "docs-opt", "docs-bloom"];

    public const string SpeedModel = "random-150m";
    public const string SpeedShape = "demo-150m";
    public const string Dataset = "docs-heldout";

    /// <summary>Of the same source as <see cref="Dataset"/>, without its sentences: what packs are calibrated on.</summary>
    public const string Calibration = "docs-train";

    private static readonly string[] Plain = ["fp16", "w8a8", "w4a8", "w4a4"];

    /// <summary>What calibration buys: int4 weights rounded by GPTQ; the 4-bit activations kept where the model stands them.</summary>
    private static readonly string[] Calibrated = ["w4a8+gptq", "w4a4+mixed+softmax"];

    /// <summary>
    /// Perplexity of the trained models on few windows (an emulated board takes part), speed of a model that no cache holds. Six
    /// rounds: the fewest that give an interval.
    /// </summary>
    /// <param name="devices">This machine first.</param>
    /// <param name="bf16">This machine has the bf16 instruction: then fp16 alone would flatter the speedups.</param>
    public static MatrixSpec Spec(IReadOnlyList<string> devices, bool bf16)
    {
        string[] timed = bf16 ? ["fp16", "bf16", .. Plain.Skip(1)] : Plain;
        IReadOnlyList<string> here = [devices[0]]; // an emulated board takes minutes for a model: one shows that it computes the same
        return new(
            Matrix, devices, [.. QualityModels, SpeedModel], [.. timed, .. Calibrated],
            [
                new WorkloadSpec("quality", [QualityModels[0]], null, null, 0, Dataset, "llama.cpp-512", 2, Plain),
                new WorkloadSpec("architectures", [.. QualityModels.Skip(1)], null, null, 0, Dataset, "llama.cpp-512", 2, Plain, here),
                new WorkloadSpec("recipes", QualityModels, null, null, 0, Dataset, "llama.cpp-512", 2, Calibrated, here),
                new WorkloadSpec("speed", [SpeedModel], 128, 16, 0, null, null, null, timed, here),
            ],
            new PolicySpec(Rounds: 6, MinRepetitions: 2, MaxRepetitions: 3, WarmupMax: 2, CoolDownTimeoutSeconds: 60), Calibration);
    }

    /// <summary>Whether a matrix asks for the same measurements.</summary>
    public static bool IsSame(MatrixSpec one, MatrixSpec other) => Text(one) == Text(other);

    /// <summary>Whether the engines that measured so far are those that would measure now. What has not run yet does not matter.</summary>
    /// <param name="measured">Target of the device and SHA-256 of the engine, by run; null where nothing ran or the device is gone.</param>
    /// <param name="current">SHA-256 of the current engine by target.</param>
    public static bool IsSameEngine(IEnumerable<(string? Target, string? Sha256)> measured, IReadOnlyDictionary<string, string> current) =>
        measured.All(m => m.Sha256 is null || (m.Target is not null && current.GetValueOrDefault(m.Target) == m.Sha256));

    private static string Text(MatrixSpec spec) => JsonSerializer.Serialize(spec, ApiJson.Options);
}
