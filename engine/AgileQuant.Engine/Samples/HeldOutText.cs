using System.Security.Cryptography;
using System.Text;
using AgileQuant.Engine.Samples;

namespace AgileQuant.Engine;

/// <summary>
/// The text the sample models are scored on: sentences of the .NET SDK's own reference documentation, rebuilt from the user's
/// SDK by their hashes. On the SDK the models were made with the text is complete; on others some sentences are missing.
/// </summary>
/// <param name="Text">One sentence a line, in the order of the hash list, LF, a newline at the end.</param>
/// <param name="Found">Sentences in the text.</param>
/// <param name="Missing">Sentences of the list that this SDK does not have.</param>
/// <param name="Sha256">Of the text as UTF-8, lower-case hexadecimal.</param>
public sealed record HeldOutText(string Text, int Found, int Missing, string Sha256)
{
    /// <param name="hashesPath">infra/samples/heldout.hashes: the first 16 hexadecimal digits of each sentence's SHA-256.</param>
    /// <param name="dotnetRoot">Folder with <c>packs/</c>; null: DOTNET_ROOT, else where the running .NET lies, else the usual places.</param>
    /// <exception cref="DirectoryNotFoundException">There is no .NET 10 reference pack.</exception>
    public static HeldOutText Rebuild(string hashesPath, string? dotnetRoot = null)
    {
        var order = File.ReadAllLines(hashesPath).Select(l => l.Trim()).Where(l => l.Length > 0).ToList();
        var wanted = order.ToHashSet(StringComparer.Ordinal);
        var found = new Dictionary<string, string>(wanted.Count, StringComparer.Ordinal);
        Span<byte> digest = stackalloc byte[32];
        foreach (var sentence in ReferenceDocumentation.Sentences(ReferenceDocumentation.Files(dotnetRoot)))
        {
            SHA256.HashData(Encoding.UTF8.GetBytes(sentence), digest);
            var key = Convert.ToHexStringLower(digest[..8]);
            if (wanted.Contains(key))
                found.TryAdd(key, sentence);
        }

        var lines = order.Where(found.ContainsKey).Select(key => found[key]).ToList();
        var text = string.Concat(lines.Select(l => l + "\n"));
        return new HeldOutText(
            text, lines.Count, order.Count - lines.Count, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text))));
    }
}
