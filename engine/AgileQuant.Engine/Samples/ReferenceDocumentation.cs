using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace AgileQuant.Engine.Samples;

/// <summary>
/// Sentences of the .NET reference packs' XML documentation, exactly as infra/samples/corpus.py takes them: the patterns below
/// are its patterns, <see cref="Unescape"/> is html.unescape for what XML allows, and white space is Python's.
/// </summary>
internal static partial class ReferenceDocumentation
{
    private const int MatchTimeout = 10_000; // milliseconds for one match, against a file that is no documentation

    private static readonly Dictionary<string, string> Entities = new(StringComparer.Ordinal)
    {
        ["lt"] = "<",
        ["gt"] = ">",
        ["amp"] = "&",
        ["quot"] = "\"",
        ["apos"] = "'",
        ["nbsp"] = "\u00A0",
    };

    /// <summary>XML files of every reference pack, sorted by base name.</summary>
    public static IReadOnlyList<string> Files(string? dotnetRoot)
    {
        var roots = dotnetRoot is not null ? [dotnetRoot] : Roots().ToArray();
        foreach (var packs in roots.Select(r => Path.Combine(r, "packs")).Where(Directory.Exists))
        {
            var files = Directory.GetDirectories(packs, "Microsoft.*.App.Ref")
                .SelectMany(Directory.GetDirectories)
                .Select(version => Path.Combine(version, "ref", "net10.0"))
                .Where(Directory.Exists)
                .SelectMany(folder => Directory.GetFiles(folder, "*.xml"))
                .OrderBy(Path.GetFileName, StringComparer.Ordinal)
                .ThenBy(path => path, StringComparer.Ordinal)
                .ToList();
            if (files.Count > 0)
                return files;
        }

        throw new DirectoryNotFoundException(
            $"no .NET 10 reference pack under {string.Join(", ", roots)}; install the .NET 10 SDK or set DOTNET_ROOT to its folder");
    }

    /// <summary>Distinct sentences of more than 40 characters, in file order.</summary>
    public static IEnumerable<string> Sentences(IReadOnlyList<string> files)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var utf8 = Encoding.GetEncoding("utf-8", EncoderFallback.ReplacementFallback, new DecoderReplacementFallback(""));
        foreach (var path in files)
        {
            foreach (Match match in Element().Matches(utf8.GetString(File.ReadAllBytes(path))))
            {
                var sentence = Plain(match.Groups["text"].Value);
                if (CodePoints(sentence) > 40 && seen.Add(sentence))
                    yield return sentence;
            }
        }
    }

    /// <summary>Element text to plain text: references by their short names, tags dropped, entities decoded, white space collapsed.</summary>
    internal static string Plain(string text)
    {
        if (text.Contains('<', StringComparison.Ordinal))
        {
            text = Reference().Replace(text, m => ShortName(m.Groups["name"].Value));
            text = Tag().Replace(text, "");
        }

        return Collapse(text.Contains('&', StringComparison.Ordinal) ? Unescape(text) : text);
    }

    /// <summary>Python's <c>\s+</c> becomes one space; none at the ends.</summary>
    internal static string Collapse(string text)
    {
        var result = new StringBuilder(text.Length);
        var pending = false;
        foreach (var c in text)
        {
            // Python also counts the separators U+001C to U+001F as white space.
            if (char.IsWhiteSpace(c) || c is >= '\u001C' and <= '\u001F')
            {
                pending = result.Length > 0;
                continue;
            }

            if (pending)
                result.Append(' ');
            pending = false;
            result.Append(c);
        }

        return result.ToString();
    }

    /// <summary>Named (XML's five and nbsp) and numeric references; anything else stays.</summary>
    internal static string Unescape(string text) => Entity().Replace(text, m =>
    {
        var name = m.Groups["name"].Value;
        if (name[0] != '#')
            return Entities.GetValueOrDefault(name, m.Value);
        var isHex = name[1] is 'x' or 'X';
        var digits = isHex ? name[2..] : name[1..];
        return int.TryParse(digits, isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var code)
            && Rune.IsValid(code)
            ? new Rune(code).ToString()
            : "\uFFFD";
    });

    private static string ShortName(string reference)
    {
        var name = reference.Split('(')[0];
        return name[(name.LastIndexOf('.') + 1)..];
    }

    private static int CodePoints(string text) => text.Length - text.Count(char.IsLowSurrogate);

    private static IEnumerable<string> Roots()
    {
        if (Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } configured)
            yield return configured;
        // .../dotnet/shared/Microsoft.NETCore.App/10.0.x/
        if (Path.GetDirectoryName(typeof(object).Assembly.Location) is { Length: > 0 } runtime)
            yield return Path.GetFullPath(Path.Combine(runtime, "..", "..", ".."));
        yield return "/usr/share/dotnet";
        yield return "/usr/lib/dotnet";
        yield return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".dotnet");
    }

    [GeneratedRegex(@"<(?:summary|remarks|returns|value|param [^>]*|exception [^>]*)>(?<text>.*?)</", RegexOptions.Singleline | RegexOptions.ExplicitCapture, MatchTimeout)]
    private static partial Regex Element();

    [GeneratedRegex("""<(?:see|paramref|typeparamref) (?:cref|name|langword)="(?:[A-Z]:)?(?<name>[^"]+)"[\s\x1c-\x1f]*/>""", RegexOptions.ExplicitCapture, MatchTimeout)]
    private static partial Regex Reference();

    [GeneratedRegex("<[^>]+>", RegexOptions.None, MatchTimeout)]
    private static partial Regex Tag();

    [GeneratedRegex("&(?<name>#[0-9]+|#[xX][0-9a-fA-F]+|[a-zA-Z]+);", RegexOptions.ExplicitCapture, MatchTimeout)]
    private static partial Regex Entity();
}
