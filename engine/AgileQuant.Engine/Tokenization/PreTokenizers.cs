using System.Globalization;
using System.Text;

namespace AgileQuant.Engine.Tokenization;

/// <summary>How byte-level BPE cuts a text into words before it merges inside each.</summary>
public enum PreTokenizer
{
    Gpt2,
    Llama3,
    Bloom,

    /// <summary>Every digit on its own, the rest as GPT-2 (SmolLM and others).</summary>
    DigitsThenGpt2,
}

/// <summary>
/// Hand-written scanners for the published patterns; they work on Unicode scalar values, which .NET's regular expressions do
/// not. Each pattern stands beside its scanner.
/// </summary>
public static class PreTokenizers
{
    private static readonly Dictionary<string, PreTokenizer> ByName = new(StringComparer.Ordinal)
    {
        ["gpt-2"] = PreTokenizer.Gpt2,
        ["default"] = PreTokenizer.Gpt2,
        ["llama-bpe"] = PreTokenizer.Llama3,
        ["llama3"] = PreTokenizer.Llama3,
        ["llama-v3"] = PreTokenizer.Llama3,
        ["bloom"] = PreTokenizer.Bloom,
        ["smollm"] = PreTokenizer.DigitsThenGpt2,
    };

    private enum Class
    {
        End,
        Letter,
        Number,
        Space,
        Other,
    }

    /// <summary>GGUF names this version knows.</summary>
    public static IEnumerable<string> Names => ByName.Keys;

    public static PreTokenizer? Find(string name) => ByName.TryGetValue(name, out var kind) ? kind : null;

    /// <summary>Calls back with every word, in order; together they are the text.</summary>
    public static void Split(PreTokenizer kind, ReadOnlySpan<char> text, Action<Range> word)
    {
        for (var at = 0; at < text.Length;)
        {
            var end = kind switch
            {
                PreTokenizer.Llama3 => Llama3(text, at),
                PreTokenizer.Bloom => Bloom(text, at),
                PreTokenizer.DigitsThenGpt2 => Digits(text, at),
                _ => Gpt2(text, at),
            };
            word(at..end);
            at = end;
        }
    }

    /// <summary><c>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</c></summary>
    private static int Gpt2(ReadOnlySpan<char> text, int at)
    {
        if (Contraction(text, at, StringComparison.Ordinal) is var length and > 0)
            return at + length;
        var start = text[at] == ' ' ? at + 1 : at;
        var kind = Classify(text, start, out _);
        return kind is Class.Space or Class.End ? Spaces(text, at) : Run(text, start, kind, int.MaxValue);
    }

    /// <summary>Digits are cut out first; what lies between is split as if it were a text of its own.</summary>
    private static int Digits(ReadOnlySpan<char> text, int at)
    {
        if (Classify(text, at, out var length) == Class.Number)
            return at + length;
        var end = at;
        while (end < text.Length && Classify(text, end, out length) != Class.Number)
            end += length;
        return Gpt2(text[..end], at);
    }

    /// <summary>
    /// <c>(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+</c>
    /// </summary>
    private static int Llama3(ReadOnlySpan<char> text, int at)
    {
        if (Contraction(text, at, StringComparison.OrdinalIgnoreCase) is var found and > 0)
            return at + found;
        var kind = Classify(text, at, out var length);
        if (kind == Class.Letter)
            return Run(text, at, Class.Letter, int.MaxValue);
        if (kind == Class.Number)
            return Run(text, at, Class.Number, 3);
        if (text[at] is not ('\r' or '\n') && Classify(text, at + length, out _) == Class.Letter)
            return Run(text, at + length, Class.Letter, int.MaxValue);
        var start = text[at] == ' ' ? at + 1 : at;
        if (Classify(text, start, out _) == Class.Other)
        {
            var end = Run(text, start, Class.Other, int.MaxValue);
            while (end < text.Length && text[end] is '\r' or '\n')
                end++;
            return end;
        }

        var lastBreak = text[at..Run(text, at, Class.Space, int.MaxValue)].LastIndexOfAny('\r', '\n');
        return lastBreak >= 0 ? at + lastBreak + 1 : Spaces(text, at);
    }

    /// <summary><c> ?[^(\s|.,!?…。，、।۔،)]+</c>; what lies between two matches is a word too.</summary>
    private static int Bloom(ReadOnlySpan<char> text, int at)
    {
        var start = text[at] == ' ' ? at + 1 : at;
        var end = start;
        while (IsBloomWord(text, end, out var length))
            end += length;
        if (end > start)
            return end;
        for (end = at; end < text.Length; end++)
        {
            if (IsBloomWord(text, end, out _) || (text[end] == ' ' && IsBloomWord(text, end + 1, out _)))
                break;
        }

        return end;
    }

    private static bool IsBloomWord(ReadOnlySpan<char> text, int at, out int length)
    {
        var kind = Classify(text, at, out length);
        return kind is not (Class.End or Class.Space) && !"(|.,!?…。，、।۔،)".Contains(text[at]);
    }

    /// <summary>Length of an English contraction at a position, 0 if there is none.</summary>
    private static int Contraction(ReadOnlySpan<char> text, int at, StringComparison comparison)
    {
        if (text[at] != '\'')
            return 0;
        foreach (var ending in (ReadOnlySpan<string>)["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"])
        {
            if (text[at..].StartsWith(ending, comparison))
                return ending.Length;
        }

        return 0;
    }

    /// <summary><c>\s+(?!\S)|\s+</c>: a run of white space leaves its last character to the word that follows.</summary>
    private static int Spaces(ReadOnlySpan<char> text, int at)
    {
        var end = Run(text, at, Class.Space, int.MaxValue);
        return end == text.Length || end - at == 1 ? end : end - 1;
    }

    /// <summary>End of a run of one class, of at most that many scalar values.</summary>
    private static int Run(ReadOnlySpan<char> text, int at, Class kind, int limit)
    {
        for (; limit > 0 && Classify(text, at, out var length) == kind; limit--)
            at += length;
        return at;
    }

    private static Class Classify(ReadOnlySpan<char> text, int at, out int length)
    {
        length = 1;
        if (at >= text.Length)
            return Class.End;
        var c = text[at];
        if (char.IsAscii(c))
        {
            return char.IsAsciiLetter(c) ? Class.Letter
                : char.IsAsciiDigit(c) ? Class.Number
                : char.IsWhiteSpace(c) ? Class.Space : Class.Other;
        }

        if (Rune.DecodeFromUtf16(text[at..], out var rune, out length) != System.Buffers.OperationStatus.Done)
            return Class.Other;
        if (Rune.IsWhiteSpace(rune))
            return Class.Space;
        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Class.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Class.Number,
            _ => Class.Other,
        };
    }
}
