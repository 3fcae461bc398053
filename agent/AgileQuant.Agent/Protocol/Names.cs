namespace AgileQuant.Agent.Protocol;

/// <summary>What may become part of a path or a plan line.</summary>
public static class Names
{
    public static bool IsSha256(string text) =>
        text is { Length: 64 } && text.All(char.IsAsciiHexDigitLower);

    /// <summary>An attempt or cluster id: 1 to 64 letters, digits and '-', not starting with '-'.</summary>
    public static bool IsAttempt(string text) =>
        text is { Length: > 0 and <= 64 } && text[0] != '-' && text.All(c => char.IsAsciiLetterOrDigit(c) || c == '-');

    /// <summary>A word without blanks, such as a precision: letters, digits and <c>+ - . _</c>.</summary>
    public static bool IsWord(string text) =>
        text is { Length: > 0 and <= 64 } && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '+' or '-' or '.' or '_');

    internal static string RequireSha256(string text) =>
        IsSha256(text) ? text : throw new ArgumentException($"'{text}' is not a lower-case hex SHA-256.", nameof(text));

    internal static string RequireAttempt(string text) =>
        IsAttempt(text) ? text : throw new ArgumentException($"'{text}' is no id: use letters, digits and '-', at most 64.", nameof(text));
}
