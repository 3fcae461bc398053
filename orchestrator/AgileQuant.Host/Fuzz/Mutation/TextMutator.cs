using System.Text;

namespace AgileQuant.Host.Fuzz.Mutation;

/// <summary>Damages a text of lines, numbers and brackets: YAML, JSON lines, or JSON that is to stop being JSON.</summary>
internal sealed class TextMutator : IMutator
{
    private const int LargestText = 1 << 19;

    private static readonly string[] Scraps =
    [
        "-1", "0", "1e400", "NaN", "99999999999999999999", "2147483648", "-9223372036854775809", "null", "true", "~", "[]", "{}", "\"", "'", "\\", "\t",
        "\r\n", "\u0000", "\uFEFF", "\u2028", "\uD83D\uDE00", "&a", "*a", "&a [*a]", "<<: *a", "!!int", "!<tag:x>", "|", ">", "? ", "- ", "---\n", "...\n", "%YAML 9.9\n", "#", ",", ":",
        "\\ud800", "\\u0000",
    ];

    public byte[] Mutate(byte[] input, byte[] other, Random random)
    {
        var text = Encoding.UTF8.GetString(input);
        if (text.Length == 0 || text.Length > LargestText)
            return Encoding.UTF8.GetBytes(Scraps[random.Next(Scraps.Length)]);
        var at = random.Next(text.Length);
        var length = Math.Min(text.Length - at, 1 << random.Next(8));
        var result = random.Next(8) switch
        {
            0 => text[..at] + Scraps[random.Next(Scraps.Length)] + text[at..],
            1 => text[..at] + text[(at + length)..],
            2 => text[..(at + length)] + text[at..],
            3 => text[..at] + Nest(random) + text[at..],
            4 => Lines(text, random),
            5 => Digits(text, random),
            6 => Splice(text, Encoding.UTF8.GetString(other), at, random),
            _ => text[..at] + new string((char)random.Next(32, 0x3000), 1 << random.Next(14)) + text[at..],
        };
        var bytes = Encoding.UTF8.GetBytes(result);
        if (random.Next(16) == 0 && bytes.Length > 0)
            bytes[random.Next(bytes.Length)] = (byte)random.Next(256); // may be no UTF-8 any more
        return bytes;
    }

    /// <summary>Deep nesting, closed or not: parsers must not recurse without a limit.</summary>
    private static string Nest(Random random)
    {
        var depth = 1 << random.Next(18); // deeper than any stack
        var (open, close) = random.Next(4) switch { 0 => ("[", "]"), 1 => ("{\"a\":", "}"), 2 => ("- ", ""), _ => ("{a: ", "}") };
        var opened = new StringBuilder(depth * open.Length).Insert(0, open, depth).ToString();
        return random.Next(2) == 0 ? opened : opened + "1" + new StringBuilder().Insert(0, close, depth);
    }

    /// <summary>A line is repeated, dropped, indented or moved.</summary>
    private static string Lines(string text, Random random)
    {
        var lines = text.Split('\n').ToList();
        var (from, to) = (random.Next(lines.Count), random.Next(lines.Count));
        switch (random.Next(4))
        {
            case 0:
                lines.Insert(to, lines[from]);
                break;
            case 1:
                lines.RemoveAt(from);
                break;
            case 2:
                lines[from] = new string(' ', random.Next(1, 9)) + lines[from];
                break;
            default:
                (lines[from], lines[to]) = (lines[to], lines[from]);
                break;
        }

        return string.Join('\n', lines);
    }

    private static string Digits(string text, Random random)
    {
        var places = Enumerable.Range(0, text.Length).Where(i => char.IsAsciiDigit(text[i])).ToList();
        if (places.Count == 0)
            return text + "0";
        var at = places[random.Next(places.Count)];
        return text[..at] + Scraps[random.Next(8)] + text[(at + 1)..];
    }

    private static string Splice(string text, string other, int at, Random random)
    {
        if (other.Length == 0)
            return text;
        var from = random.Next(other.Length);
        return text[..at] + other[from..Math.Min(other.Length, from + (1 << random.Next(10)))] + text[at..];
    }
}
