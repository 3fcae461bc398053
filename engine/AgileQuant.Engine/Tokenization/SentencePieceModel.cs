using System.Text;
using System.Text.Json;

namespace AgileQuant.Engine.Tokenization;

/// <summary>Reads a SentencePiece <c>tokenizer.model</c> (protobuf) of the kind LLaMA 1 and 2 have: BPE without normalization.</summary>
internal static class SentencePieceModel
{
    private const long MaxBytes = 256L << 20;
    private const int Bpe = 2;

    /// <param name="path">The file; <c>added_tokens.json</c> and <c>tokenizer_config.json</c> beside it are read too.</param>
    /// <param name="modelVocabulary">Rows of the model's embedding; missing tokens are filled with unused ones. null: as it is.</param>
    /// <exception cref="ModelFormatException">Not such a file, or one with rules that this version does not know.</exception>
    public static Vocabulary Read(string path, int? modelVocabulary)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (new FileInfo(path).Length > MaxBytes)
            throw new ModelFormatException($"{path}: larger than {MaxBytes} bytes; not a SentencePiece model");
        var pieces = new List<(string Text, float Score, TokenKind Kind)>();
        var special = new Dictionary<int, int> { [40] = 0, [41] = 1, [42] = 2, [43] = -1 }; // unknown, BOS, EOS, pad: fields of the trainer
        bool prefix = true;
        try
        {
            var reader = new ProtoReader(File.ReadAllBytes(path));
            while (reader.Next())
            {
                if (reader.Field == 1)
                    pieces.Add(Piece(reader.Content));
                else if (reader.Field == 2)
                    ReadTrainer(path, reader.Content, special);
                else if (reader.Field == 3)
                    prefix = ReadNormalizer(path, reader.Content);
            }

            if (pieces.Count == 0)
                throw new FormatException("it has no pieces");
        }
        catch (Exception e) when (e is FormatException or DecoderFallbackException)
        {
            throw new ModelFormatException($"{path}: not a SentencePiece model, or corrupt: {e.Message}", e);
        }

        AddTokens(folder, pieces, modelVocabulary);
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var id = 0; id < pieces.Count; id++)
            ids.TryAdd(pieces[id].Text, id);
        var vocabulary = new Vocabulary
        {
            Model = Vocabulary.SentencePieceModel,
            Tokens = pieces.ConvertAll(p => p.Text),
            Kinds = pieces.ConvertAll(p => p.Kind),
            Scores = pieces.ConvertAll(p => p.Score),
            UnknownId = special[40],
            AddSpacePrefix = prefix,
        };
        return new SpecialTokens(folder, ids, special[41], special[42], special[43], addBos: true).Apply(vocabulary).Checked(path);
    }

    private static (string Text, float Score, TokenKind Kind) Piece(ReadOnlySpan<byte> message)
    {
        var (text, score, kind) = ("", 0f, TokenKind.Normal);
        var reader = new ProtoReader(message);
        while (reader.Next())
        {
            if (reader.Field == 1)
                text = Encoding.UTF8.GetString(reader.Content);
            else if (reader.Field == 2)
                score = reader.Real;
            else if (reader.Field == 3)
                kind = (TokenKind)reader.Number; // SentencePiece's numbers are GGUF's
        }

        return Enum.IsDefined(kind) && !float.IsNaN(score) ? (text, score, kind) : throw new FormatException($"piece '{text}' of kind {(int)kind}");
    }

    private static void ReadTrainer(string path, ReadOnlySpan<byte> message, Dictionary<int, int> special)
    {
        var kind = 1; // unigram unless it says otherwise
        var reader = new ProtoReader(message);
        while (reader.Next())
        {
            if (reader.Field == 3)
                kind = (int)reader.Number;
            else if (special.ContainsKey(reader.Field))
                special[reader.Field] = (int)reader.Number;
        }

        if (kind != Bpe)
            throw new ModelFormatException($"{path}: SentencePiece model type {kind} (1 is unigram) is not supported; BPE is");
    }

    /// <returns>Whether a space is put in front of a text.</returns>
    private static bool ReadNormalizer(string path, ReadOnlySpan<byte> message)
    {
        bool prefix = true, collapses = true, escapes = true, maps = false;
        var reader = new ProtoReader(message);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 2:
                    maps = reader.Content.Length > 0;
                    break;
                case 3:
                    prefix = reader.Number != 0;
                    break;
                case 4:
                    collapses = reader.Number != 0;
                    break;
                case 5:
                    escapes = reader.Number != 0;
                    break;
            }
        }

        if (maps || collapses || !escapes)
        {
            throw new ModelFormatException($"{path}: this SentencePiece model normalizes its text, which is not supported; "
                + "LLaMA's, which only replaces spaces, is");
        }

        return prefix;
    }

    /// <summary>Tokens that were added behind the model's own, and unused ones up to the rows of the embedding.</summary>
    private static void AddTokens(string folder, List<(string Text, float Score, TokenKind Kind)> pieces, int? modelVocabulary)
    {
        var path = Path.Combine(folder, "added_tokens.json");
        var added = new Dictionary<int, string>();
        if (File.Exists(path))
        {
            try
            {
                using var json = JsonDocument.Parse(File.ReadAllBytes(path));
                foreach (var token in json.RootElement.EnumerateObject())
                    added[token.Value.GetInt32()] = token.Name;
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
            {
                throw new ModelFormatException($"{path}: corrupt: {e.Message}", e);
            }
        }

        var size = Math.Max(Math.Max(pieces.Count, added.Count == 0 ? 0 : added.Keys.Max() + 1), modelVocabulary ?? 0);
        if (size > VocabularyReader.MaxTokens || (modelVocabulary is { } rows && size > rows))
            throw new ModelFormatException($"{path}: the tokenizer's largest id is {size - 1}; the model has {modelVocabulary} tokens");
        while (pieces.Count < size)
        {
            pieces.Add(added.TryGetValue(pieces.Count, out var text)
                ? (text, 0, TokenKind.Control)
                : ($"[PAD{pieces.Count}]", 0, TokenKind.Unused));
        }
    }
}
