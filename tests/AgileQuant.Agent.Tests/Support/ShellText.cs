namespace AgileQuant.Agent.Tests.Support;

/// <summary>Texts that shells like to misread.</summary>
public static class ShellText
{
    public static readonly string[] Awkward =
    [
        "", " ", "  two  blanks ", "'", "''", "it's", "\"", "\\", "\\\\", "\\'", "'\\''", "a\\", "$HOME", "${HOME}", "$(id)", "`id`",
        "!", "!!", "!x", "a!b'c!", "#x", "~", "~root", "*", "?", "[a-z]*", "{a,b}", "a;b", "a&b", "a|b", "<x", ">x", "(x)", "\n", "a\nb\n",
        "\t", "\r\n", "\u0001", "\u007f", "-n", "--", "-", "=", "a=b", "%s", "%%", "%0d", "\\0101", "\\n", "\\c", "äöü", "日本", "🦙", "\u00a0",
        "^x^y", "a:b", "x\\!y", "\\$x", "then", "if", "end",
    ];

    /// <summary>Random strings, most of them from the characters shells treat specially.</summary>
    public static IEnumerable<string> Random(int seed, int count)
    {
        const string Special = "'\"\\$`!*?[]{}()<>|&;#~^%=+-,./:@ \n\t\rabc019é→";
        var random = new Random(seed);
        for (var i = 0; i < count; i++)
            yield return string.Concat(Enumerable.Range(0, random.Next(0, 40)).Select(_ => Special[random.Next(Special.Length)]));
    }
}
