using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>NLLs of the first windows of a model's text in all precisions, from the reference and from native engines; each made once.</summary>
internal static class NativeScores
{
    private static readonly ConcurrentDictionary<string, Lazy<IReadOnlyDictionary<string, float[][]>>> Native = new();
    private static readonly ConcurrentDictionary<string, Lazy<float[][]>> Reference = new();

    /// <returns><c>[windows][targets]</c></returns>
    public static float[][] OfReference(string model, string precision, PerplexityConvention convention, int windows) =>
        Reference.GetOrAdd($"{model} {precision} {convention} {windows}", _ => new Lazy<float[][]>(() =>
            ReferenceModel.Load(Packs.Pack(model, precision)).Score(Packs.Tokens(model), convention, 0, windows))).Value;

    /// <summary>One perplexity job with a block for every precision.</summary>
    /// <returns>By precision, <c>[windows][targets]</c></returns>
    public static IReadOnlyDictionary<string, float[][]> OfEngine(
        NativeEngine engine, string name, string isa, string model, PerplexityConvention convention, int windows) =>
        Native.GetOrAdd($"{name} {isa} {model} {convention} {windows}", _ => new Lazy<IReadOnlyDictionary<string, float[][]>>(
            () => RunJob(engine, isa, model, convention, windows, Packs.Precisions))).Value;

    /// <summary>One perplexity job of one precision, on whatever the engine thinks best.</summary>
    /// <returns><c>[windows][targets]</c></returns>
    public static float[][] OfEngine(NativeEngine engine, string model, string precision, PerplexityConvention convention, int windows) =>
        RunJob(engine, "auto", model, convention, windows, [precision])[precision];

    private static Dictionary<string, float[][]> RunJob(
        NativeEngine engine, string isa, string model, PerplexityConvention convention, int windows, string[] precisions)
    {
        using var root = new TemporaryFolder();
        Directory.CreateDirectory(root.File("store"));
        Directory.CreateDirectory(root.File("jobs/test"));
        var lines = new List<string> { "agilequant-plan 1", "attempt test", "kind perplexity", "threads 2", $"isa {isa}" };
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"context {convention.N}"));
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"ubatch {convention.N / 2}"));
        lines.AddRange(precisions.Select(p => $"pack {p} {Store(root, Packs.Pack(model, p))}"));
        lines.Add($"tokens {Store(root, Packs.TokenFilePath(model))}");
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"convention {convention.Kind} {convention.N}"));
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"windows 0 {windows}"));
        lines.AddRange(["telemetry-ms 500", "warmup-max 1", "target-spread 0.5"]);
        lines.AddRange(precisions.Select((p, i) => $"block {i} {p} perplexity 1 1"));
        File.WriteAllText(root.File("jobs/test/plan"), string.Concat(lines.Select(l => l + "\n")));

        engine.Run("run", "--root", root.Path, "--job", "test");

        return precisions.Select((p, i) => (p, i)).ToDictionary(x => x.p, x =>
        {
            var values = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(root.File($"jobs/test/nll-{x.i}.f32"))).ToArray();
            values.Length.ShouldBe(windows * convention.Targets);
            return values.Chunk(convention.Targets).ToArray();
        });
    }

    private static string Store(TemporaryFolder root, string path)
    {
        var sha256 = TestData.Sha256(File.ReadAllBytes(path));
        File.CreateSymbolicLink(root.File($"store/{sha256}"), path);
        return sha256;
    }
}
