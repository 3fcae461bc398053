using System.Globalization;
using AgileQuant.Engine.Import;
using AgileQuant.Engine.Tokenization;

namespace AgileQuant.Engine;

/// <summary>
/// Vocabularies of models without a training: three special tokens and the 256 bytes, the rest unused, so that any text can be
/// encoded, one id a byte. In each architecture of the kind that public tools expect there.
/// </summary>
internal static class SyntheticVocabulary
{
    /// <summary>Special tokens, bytes, and the space.</summary>
    public const int Least = 260;

    private static readonly string[] Special = ["<unk>", "<s>", "</s>"];

    public static Vocabulary For(RandomModelShape shape) => shape.Architecture == Architecture.Llama
        ? SentencePiece(shape.VocabularySize)
        : ByteLevel(shape.VocabularySize, shape.Architecture == Architecture.Bloom ? "bloom" : "gpt-2");

    /// <summary>Byte tokens and the space's own, which no byte stands for; no space in front of a text.</summary>
    private static Vocabulary SentencePiece(int size)
    {
        var bytes = Enumerable.Range(0, 256).Select(b => string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>"));
        return new Vocabulary
        {
            Model = Vocabulary.SentencePieceModel,
            Tokens = [.. Special, .. bytes, "▁", .. Unused(Least, size)],
            Kinds = [.. Enumerable.Range(0, size).Select(id => id switch
            {
                0 => TokenKind.Unknown,
                < 3 => TokenKind.Control,
                < 259 => TokenKind.Byte,
                259 => TokenKind.Normal,
                _ => TokenKind.Unused,
            })],
            Scores = new float[size],
            BosId = 1,
            EosId = 2,
            UnknownId = 0,
            AddBos = true,
        };
    }

    private static Vocabulary ByteLevel(int size, string pre) => new()
    {
        Model = Vocabulary.ByteLevelModel,
        Pre = pre,
        Tokens = [.. Special, .. ByteLevelEncoder.BuildAlphabet(), .. Unused(Least - 1, size)],
        Kinds = [.. Enumerable.Range(0, size).Select(id => id < 3 ? TokenKind.Control : id < Least - 1 ? TokenKind.Normal : TokenKind.Unused)],
        BosId = 1,
        EosId = 2,
        UnknownId = 0,
        AddBos = true,
    };

    private static IEnumerable<string> Unused(int first, int size) => Enumerable.Range(first, size - first).Select(id => $"[PAD{id}]");
}
