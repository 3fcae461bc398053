using System.Text;

namespace AgileQuant.Agent;

/// <summary>Turns argument vectors into POSIX shell text. The only place where that is done.</summary>
public static class PosixShell
{
    /// <summary>Linux refuses a single argument of 128 KiB; the login shell gets ours as one.</summary>
    public const int MaxCommandLength = 120_000;

    /// <summary>One word of a POSIX <c>sh</c> command line that evaluates to exactly <paramref name="argument"/>.</summary>
    /// <exception cref="ArgumentException">It holds a NUL character, which no argument can.</exception>
    public static string Quote(string argument)
    {
        ArgumentNullException.ThrowIfNull(argument);
        if (argument.Contains('\0'))
            throw new ArgumentException("An argument of a remote command cannot hold a NUL character.", nameof(argument));
        return argument.Length > 0 && argument.All(IsPlain)
            ? argument
            : SingleQuote(argument);
    }

    /// <summary>The words of <paramref name="command"/>, quoted, with blanks between them.</summary>
    public static string Join(IReadOnlyList<string> command)
    {
        ArgumentNullException.ThrowIfNull(command);
        if (command.Count == 0 || command[0].Length == 0)
            throw new ArgumentException("A remote command needs at least the program's name.", nameof(command));
        // A bare word with '=' in front would be taken as an assignment.
        var first = command[0].Contains('=') ? SingleQuote(command[0]) : Quote(command[0]);
        return string.Join(' ', command.Skip(1).Select(Quote).Prepend(first));
    }

    /// <summary>
    /// A command line that any login shell (sh, bash, zsh, fish, csh, a ForceCommand wrapper) hands unchanged to POSIX
    /// <c>sh</c>. Shells differ in what <c>\ ' ! $ "</c>, newlines and non-ASCII bytes mean within quotes, so none of those
    /// appears in the outer text except <c>\0ooo</c> octal escapes, which every shell leaves alone in single quotes
    /// and which printf in the inner sh decodes.
    /// </summary>
    public static string WrapForLoginShell(string script)
    {
        ArgumentNullException.ThrowIfNull(script);
        var text = new StringBuilder("exec sh -c 'eval \"$(printf %b \"");
        foreach (var b in Encoding.UTF8.GetBytes(script))
        {
            if (b == 0)
                throw new ArgumentException("A remote script cannot hold a NUL character.", nameof(script));
            if (IsLiteral((char)b))
                text.Append((char)b);
            else
                text.Append("\\0").Append((char)('0' + (b >> 6))).Append((char)('0' + (b >> 3 & 7))).Append((char)('0' + (b & 7)));
        }

        text.Append("\")\"'");
        return text.Length <= MaxCommandLength
            ? text.ToString()
            : throw new ArgumentException(
                $"A remote command of {text.Length} characters is too long (at most {MaxCommandLength}): send the data by standard input.",
                nameof(script));
    }

    private static string SingleQuote(string text) => "'" + text.Replace("'", "'\\''") + "'";

    private static bool IsPlain(char c) =>
        char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.' or '/' or ':' or '=' or ',' or '+' or '@' or '%';

    private static bool IsLiteral(char c) => IsPlain(c) || c is ' ' or ';' or '|' or '&' or '<' or '>' or '[' or ']' or '?' or '*';
}
