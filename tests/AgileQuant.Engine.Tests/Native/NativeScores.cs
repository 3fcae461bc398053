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

    /// <summary>Survivors of a pack that prunes, on whatever the engine thinks best.</summary>
    /// <param name="engine">The engine.</param>
    /// <param name="precision">Of the pack.</param>
    /// <param name="pack">The pack.</param>
    /// <param name="tokens">Token file.</param>
    /// <param name="convention">How windows are cut.</param>
    /// <param name="windows">The first so many.</param>
    /// <returns><c>[windows * targets]</c>, 1 where the position that predicts the target stayed.</returns>
    public static byte[] Survivors(
        NativeEngine engine, string precision, string pack, string tokens, PerplexityConvention convention, int windows)
    {
        using var root = new TemporaryFolder();
        Run(root, engine, "auto", [(precision, pack)], tokens, convention, windows);
        return File.ReadAllBytes(root.File("jobs/test/survivors-0.u8"));
    }

    private static Dictionary<string, float[][]> RunJob(
        NativeEngine engine, string isa, string model, PerplexityConvention convention, int windows, string[] precisions)
    {
        using var root = new TemporaryFolder();
        Run(root, engine, isa, [.. precisions.Select(p => (p, Packs.Pack(model, p)))], Packs.TokenFilePath(model), convention, windows);
        return precisions.Select((p, i) => (p, i)).ToDictionary(x => x.p, x =>
        {
            var values = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(root.File($"jobs/test/nll-{x.i}.f32"))).ToArray();
            values.Length.ShouldBe(windows * convention.Targets);
            return values.Chunk(convention.Targets).ToArray();
        });
    }

    private static void Run(
        TemporaryFolder root, NativeEngine engine, string isa, (string Precision, string Path)[] packs, string tokens,
        PerplexityConvention convention, int windows)
    {
        Directory.CreateDirectory(root.File("store"));
        Directory.CreateDirectory(root.File("jobs/test"));
        var lines = new List<string> { "agilequant-plan 1", "attempt test", "kind perplexity", "threads 2", $"isa {isa}" };
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"context {convention.N}"));
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"ubatch {convention.N / 2}"));
        lines.AddRange(packs.Select(p => $"pack {p.Precision} {Store(root, p.Path)}"));
        lines.Add($"tokens {Store(root, tokens)}");
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"convention {convention.Kind} {convention.N}"));
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"windows 0 {windows}"));
        lines.AddRange(["telemetry-ms 500", "warmup-max 1", "target-spread 0.5"]);
        lines.AddRange(packs.Select((p, i) => $"block {i} {p.Precision} perplexity 1 1"));
        File.WriteAllText(root.File("jobs/test/plan"), string.Concat(lines.Select(l => l + "\n")));

        engine.Run("run", "--root", root.Path, "--job", "test");
    }

    private static string Store(TemporaryFolder root, string path)
    {
        var sha256 = TestData.Sha256(File.ReadAllBytes(path));
        File.CreateSymbolicLink(root.File($"store/{sha256}"), path);
        return sha256;
    }
}
