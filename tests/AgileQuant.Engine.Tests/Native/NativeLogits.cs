using System.Globalization;
using System.Runtime.InteropServices;
using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>Logits of the native engine beside the reference's.</summary>
internal static class NativeLogits
{
    /// <summary>Tokens that are compared.</summary>
    public const int Count = 64;

    /// <summary>By instruction set of this machine, the absolute differences of all logits of the first tokens of the model's text.</summary>
    /// <param name="pack">A packed model.</param>
    /// <param name="model">As for <see cref="Packs.Tokens"/>.</param>
    public static IEnumerable<(string Isa, List<double> Differences)> Differences(string pack, string model) =>
        Differences(NativeEngine.OfThisMachine(), pack, model, Count);

    /// <param name="engine">Of this machine or an emulated one.</param>
    /// <param name="pack">A packed model.</param>
    /// <param name="model">As for <see cref="Packs.Tokens"/>.</param>
    /// <param name="count">Tokens.</param>
    public static IEnumerable<(string Isa, List<double> Differences)> Differences(NativeEngine engine, string pack, string model, int count) =>
        Differences(engine, pack, [.. Packs.Tokens(model).Ids.Take(count)], Packs.TokenFilePath(model));

    /// <param name="engine">Of this machine or an emulated one.</param>
    /// <param name="pack">A packed model.</param>
    /// <param name="ids">The first ids of the file.</param>
    /// <param name="tokenFile">For the native engine.</param>
    public static IEnumerable<(string Isa, List<double> Differences)> Differences(NativeEngine engine, string pack, int[] ids, string tokenFile)
    {
        var reference = ReferenceModel.Load(pack).Logits(ids).SelectMany(r => r).ToList();
        reference.ShouldAllBe(logit => float.IsFinite(logit));
        using var folder = new TemporaryFolder();
        foreach (var isa in engine.Isas)
        {
            engine.Run("logits", "--model", pack, "--tokens", tokenFile, "--count", ids.Length.ToString(CultureInfo.InvariantCulture),
                "--out", folder.File("logits"), "--isa", isa, "--threads", "2");
            var native = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(folder.File("logits"))).ToArray();
            native.Length.ShouldBe(reference.Count);
            yield return (isa, native.Zip(reference, (a, b) => Math.Abs((double)a - b)).ToList());
        }
    }
}
