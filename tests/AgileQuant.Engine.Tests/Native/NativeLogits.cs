using System.Globalization;
using System.Runtime.InteropServices;
using Shouldly;

namespace AgileQuant.Engine.Tests.Native;

/// <summary>Logits of the native engine beside the reference's.</summary>
internal static class NativeLogits
{
    private const int Count = 40;

    /// <summary>By instruction set, the absolute differences of all logits of the first tokens of the model's text.</summary>
    /// <param name="pack">A packed model.</param>
    /// <param name="model">As for <see cref="Packs.Tokens"/>.</param>
    public static IEnumerable<(string Isa, List<double> Differences)> Differences(string pack, string model) =>
        Differences(pack, [.. Packs.Tokens(model).Ids.Take(Count)], Packs.TokenFilePath(model));

    /// <param name="pack">A packed model.</param>
    /// <param name="ids">The first ids of the file.</param>
    /// <param name="tokenFile">For the native engine.</param>
    public static IEnumerable<(string Isa, List<double> Differences)> Differences(string pack, int[] ids, string tokenFile)
    {
        var engine = NativeEngine.OfThisMachine();
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
