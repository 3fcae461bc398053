using System.Security.Cryptography;
using System.Text;
using AgileQuant.Engine.Samples;

namespace AgileQuant.Engine;

/// <summary>
/// A text to calibrate the sample models on, from the same source as <see cref="HeldOutText"/> and without any of its sentences: those of
/// the .NET SDK's reference documentation whose hash begins with a small number, so that they are spread evenly over it.
/// </summary>
/// <param name="Text">One sentence a line, LF, a newline at the end.</param>
/// <param name="Sentences">How many.</param>
/// <param name="Sha256">Of the text as UTF-8, lower-case hexadecimal.</param>
public sealed record CalibrationSample(string Text, int Sentences, string Sha256)
{
    /// <summary>Of 256: about 2,500 sentences of an SDK, 60,000 ids of the sample models.</summary>
    private const byte Share = 8;

    /// <param name="hashesPath">infra/samples/heldout.hashes: sentences that are left out.</param>
    /// <param name="dotnetRoot">Folder with <c>packs/</c>; null: as in <see cref="HeldOutText.Rebuild"/>.</param>
    /// <exception cref="DirectoryNotFoundException">There is no .NET 10 reference pack.</exception>
    public static CalibrationSample Build(string hashesPath, string? dotnetRoot = null)
    {
        var heldOut = File.ReadLines(hashesPath).Select(l => l.Trim()).ToHashSet(StringComparer.Ordinal);
        var text = new StringBuilder();
        var count = 0;
        Span<byte> digest = stackalloc byte[32];
        foreach (var sentence in ReferenceDocumentation.Sentences(ReferenceDocumentation.Files(dotnetRoot)))
        {
            SHA256.HashData(Encoding.UTF8.GetBytes(sentence), digest);
            if (digest[31] >= Share || heldOut.Contains(Convert.ToHexStringLower(digest[..8])))
                continue;
            text.Append(sentence).Append('\n');
            count++;
        }

        var result = text.ToString();
        return new CalibrationSample(result, count, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(result))));
    }
}
