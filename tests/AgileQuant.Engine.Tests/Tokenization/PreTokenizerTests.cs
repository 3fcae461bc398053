using AgileQuant.Engine.Tokenization;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;

namespace AgileQuant.Engine.Tests.Tokenization;

public sealed class PreTokenizerTests
{
    [Theory]
    [InlineData(PreTokenizer.Gpt2, "I'll pay  42€ now", "I|'ll| pay| | 42|€| now")]
    [InlineData(PreTokenizer.Gpt2, "a  \n b\n", "a|  \n| b|\n")]
    [InlineData(PreTokenizer.Gpt2, "I'LL", "I|'|LL")]
    [InlineData(PreTokenizer.Gpt2, "𝒳𝒴 𝟘", "𝒳𝒴| 𝟘")]
    [InlineData(PreTokenizer.Llama3, "I'LL pay 12345!!\n\n x", "I|'LL| pay| |123|45|!!\n\n| x")]
    [InlineData(PreTokenizer.Llama3, "(word)\tx  \n  y", "(word|)|\tx|  \n| | y")]
    [InlineData(PreTokenizer.Bloom, "Hi, you (there).  ok", "Hi|,| you| (|there|). | ok")]
    [InlineData(PreTokenizer.DigitsThenGpt2, "a 2024 b", "a| |2|0|2|4| b")]
    public void Texts_are_cut_where_the_published_patterns_cut_them(PreTokenizer kind, string text, string expected) =>
        string.Join('|', Words(kind, text)).ShouldBe(expected);

    [Theory]
    [InlineData(PreTokenizer.Gpt2)]
    [InlineData(PreTokenizer.Llama3)]
    [InlineData(PreTokenizer.Bloom)]
    [InlineData(PreTokenizer.DigitsThenGpt2)]
    public void Nothing_is_lost_and_no_word_is_empty(PreTokenizer kind) => Prop.ForAll<string>(text =>
    {
        text ??= "";
        var words = Words(kind, text);
        return string.Concat(words) == text && words.TrueForAll(w => w.Length > 0);
    }).QuickCheckThrowOnFailure();

    private static List<string> Words(PreTokenizer kind, string text)
    {
        var words = new List<string>();
        PreTokenizers.Split(kind, text, range => words.Add(text[range]));
        return words;
    }
}
