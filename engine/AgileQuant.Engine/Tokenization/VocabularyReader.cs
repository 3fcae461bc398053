using System.Text.Json;

namespace AgileQuant.Engine.Tokenization;

/// <summary>Reads a Hugging Face <c>tokenizer.json</c> (and what config.json and tokenizer_config.json say about special tokens).</summary>
internal static class VocabularyReader
{
    private const string Llama3Pattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string BloomPattern = @" ?[^(\s|[.,!?…。，、।۔،])]+";

    private const string BloomPatternPlain = @" ?[^(\s|.,!?…。，、।۔،)]+";

    /// <summary>More tokens than any model has.</summary>
    public const int MaxTokens = 1 << 22;

    /// <param name="folder">Where tokenizer.json lies.</param>
    /// <param name="modelVocabulary">Rows of the model's embedding; missing tokens are filled with unused ones. null: as it is.</param>
    /// <returns>null when the folder has no tokenizer.json.</returns>
    public static Vocabulary? FromFolder(string folder, int? modelVocabulary)
    {
        var path = Path.Combine(folder, "tokenizer.json");
        if (!File.Exists(path))
            return null;
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return Read(path, json.RootElement, folder, modelVocabulary).Checked(path);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException
            or IndexOutOfRangeException)
        {
            throw new ModelFormatException($"{path}: corrupt: {e.Message}", e);
        }
    }

    private static Vocabulary Read(string path, JsonElement root, string folder, int? modelVocabulary)
    {
        var model = root.GetProperty("model");
        if (Text(model, "type") is { } type and not "BPE")
            throw new ModelFormatException($"{path}: tokenizer model '{type}' is not supported; BPE is");
        var pieces = Pieces(path, root, model, modelVocabulary);
        var merges = Merges(model);
        var special = new SpecialTokens(folder, root, pieces.Ids);
        var byteFallback = model.TryGetProperty("byte_fallback", out var fallback) && fallback.ValueKind == JsonValueKind.True;
        if (byteFallback)
        {
            return special.Apply(new Vocabulary
            {
                Model = Vocabulary.SentencePieceModel,
                Tokens = pieces.Tokens,
                Kinds = SentencePieceKinds(pieces, Text(model, "unk_token")),
                Scores = ScoresFromMerges(pieces, merges),
                UnknownId = Text(model, "unk_token") is { } unknown ? pieces.Ids.GetValueOrDefault(unknown, -1) : -1,
                AddSpacePrefix = PrefixesSpace(path, root),
            });
        }

        RefuseNormalizer(path, root);
        var (pre, prefix) = PreTokenizerOf(path, root);
        return special.Apply(new Vocabulary
        {
            Model = Vocabulary.ByteLevelModel,
            Pre = pre,
            Tokens = pieces.Tokens,
            Kinds = pieces.Kinds,
            Merges = merges.ConvertAll(m => m.Left + " " + m.Right),
            IgnoreMerges = model.TryGetProperty("ignore_merges", out var ignore) ? ignore.ValueKind == JsonValueKind.True : null,
            AddSpacePrefix = prefix,
        });
    }

    private static (string[] Tokens, TokenKind[] Kinds, Dictionary<string, int> Ids) Pieces(
        string path, JsonElement root, JsonElement model, int? modelVocabulary)
    {
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var piece in model.GetProperty("vocab").EnumerateObject())
            ids[piece.Name] = piece.Value.GetInt32();
        var added = root.TryGetProperty("added_tokens", out var list) && list.ValueKind == JsonValueKind.Array
            ? list.EnumerateArray().ToList()
            : [];
        foreach (var token in added)
            ids[token.GetProperty("content").GetString() ?? throw new FormatException("an added token is null")] = token.GetProperty("id").GetInt32();
        var (tokens, kinds) = Fill(path, ids, modelVocabulary);
        foreach (var token in added)
        {
            var isSpecial = token.TryGetProperty("special", out var flag) && flag.GetBoolean();
            kinds[token.GetProperty("id").GetInt32()] = isSpecial ? TokenKind.Control : TokenKind.UserDefined;
        }

        return (tokens, kinds, ids);
    }

    /// <summary>Tokens in the order of their ids, up to the rows of the embedding; ids without a token are unused.</summary>
    /// <exception cref="ModelFormatException">An id is negative or beyond the model.</exception>
    internal static (string[] Tokens, TokenKind[] Kinds) Fill(string path, Dictionary<string, int> ids, int? modelVocabulary)
    {
        var largest = ids.Count == 0 ? -1 : ids.Values.Max();
        if (ids.Values.Any(id => id < 0) || largest >= MaxTokens || largest >= (modelVocabulary ?? MaxTokens))
            throw new ModelFormatException($"{path}: the tokenizer's largest id is {largest}; the model has {modelVocabulary} tokens");
        var tokens = new string[Math.Max(largest + 1, modelVocabulary ?? 0)];
        var kinds = new TokenKind[tokens.Length];
        foreach (var (piece, id) in ids)
            (tokens[id], kinds[id]) = (piece, TokenKind.Normal);
        for (var id = 0; id < tokens.Length; id++)
        {
            if (tokens[id] is null)
                (tokens[id], kinds[id]) = ($"[PAD{id}]", TokenKind.Unused);
        }

        return (tokens, kinds);
    }

    /// <summary>Merges as "a b" or, in newer files, as ["a", "b"].</summary>
    private static List<(string Left, string Right)> Merges(JsonElement model)
    {
        var merges = new List<(string, string)>();
        foreach (var merge in model.GetProperty("merges").EnumerateArray())
        {
            if (merge.ValueKind == JsonValueKind.Array)
            {
                merges.Add((Part(merge[0]), Part(merge[1])));
                continue;
            }

            var text = Part(merge);
            var space = text.IndexOf(' ', StringComparison.Ordinal);
            if (space <= 0)
                throw new FormatException($"merge '{text}' has no two parts");
            merges.Add((text[..space], text[(space + 1)..]));
        }

        return merges;

        static string Part(JsonElement part) => part.GetString() ?? throw new FormatException("a merge is null");
    }

    /// <summary>A merged piece scores minus the rank of its first merge, so that scores order pairs as the merges do.</summary>
    private static float[] ScoresFromMerges((string[] Tokens, TokenKind[] Kinds, Dictionary<string, int> Ids) pieces, List<(string Left, string Right)> merges)
    {
        var scores = new float[pieces.Tokens.Length];
        Array.Fill(scores, -merges.Count - 1f);
        for (var rank = merges.Count - 1; rank >= 0; rank--)
        {
            if (pieces.Ids.TryGetValue(merges[rank].Left + merges[rank].Right, out var id))
                scores[id] = -rank;
        }

        for (var id = 0; id < scores.Length; id++)
        {
            if (pieces.Kinds[id] != TokenKind.Normal)
                scores[id] = 0;
        }

        return scores;
    }

    private static TokenKind[] SentencePieceKinds((string[] Tokens, TokenKind[] Kinds, Dictionary<string, int> Ids) pieces, string? unknown)
    {
        var kinds = (TokenKind[])pieces.Kinds.Clone();
        for (var id = 0; id < kinds.Length; id++)
        {
            var token = pieces.Tokens[id];
            if (token == unknown)
                kinds[id] = TokenKind.Unknown;
            else if (token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>')
                kinds[id] = TokenKind.Byte;
        }

        return kinds;
    }

    /// <summary>LLaMA's normalizer (prepend U+2581, spaces to U+2581) or its newer Metaspace form.</summary>
    private static bool PrefixesSpace(string path, JsonElement root)
    {
        foreach (var part in Parts(root, "normalizer", "normalizers"))
        {
            switch (Text(part, "type"))
            {
                case "Prepend" when Text(part, "prepend") == "▁":
                    return true;
                case "Replace":
                    break;
                case var other:
                    throw new ModelFormatException($"{path}: normalizer '{other}' is not supported");
            }
        }

        foreach (var part in Parts(root, "pre_tokenizer", "pretokenizers"))
        {
            if (Text(part, "type") != "Metaspace")
                throw new ModelFormatException($"{path}: pre-tokenizer '{Text(part, "type")}' is not supported with byte fallback");
            return Text(part, "prepend_scheme") is { } scheme
                ? scheme != "never"
                : !part.TryGetProperty("add_prefix_space", out var add) || add.GetBoolean();
        }

        return false;
    }

    private static void RefuseNormalizer(string path, JsonElement root)
    {
        if (Parts(root, "normalizer", "normalizers").FirstOrDefault() is { ValueKind: JsonValueKind.Object } part)
            throw new ModelFormatException($"{path}: normalizer '{Text(part, "type")}' is not supported with byte-level BPE");
    }

    /// <returns>GGUF name of the pre-tokenizer; whether a space is put in front.</returns>
    private static (string Name, bool Prefix) PreTokenizerOf(string path, JsonElement root)
    {
        string? pattern = null;
        bool digits = false, regex = false, prefix = false;
        foreach (var part in Parts(root, "pre_tokenizer", "pretokenizers"))
        {
            switch (Text(part, "type"))
            {
                case "ByteLevel":
                    regex = !part.TryGetProperty("use_regex", out var use) || use.GetBoolean();
                    prefix = part.TryGetProperty("add_prefix_space", out var add) && add.GetBoolean();
                    break;
                case "Split":
                    pattern = part.GetProperty("pattern") is var p && p.TryGetProperty("Regex", out var r) ? r.GetString() : "a literal";
                    break;
                case "Digits":
                    digits = part.TryGetProperty("individual_digits", out var individual) && individual.GetBoolean();
                    break;
                case var other:
                    throw new ModelFormatException($"{path}: pre-tokenizer '{other}' is not supported");
            }
        }

        return (pattern, digits, regex) switch
        {
            (null, false, true) => ("gpt-2", prefix),
            (null, true, true) => ("smollm", prefix),
            (Llama3Pattern, false, false) => ("llama-bpe", prefix),
            (BloomPattern or BloomPatternPlain, false, false) => ("bloom", prefix),
            _ => throw new ModelFormatException(
                $"{path}: this pre-tokenizer is not supported (pattern {pattern ?? "none"}); GPT-2's, Llama 3's, BLOOM's and SmolLM's are"),
        };
    }

    /// <summary>The members of a Sequence, the one object itself, or nothing.</summary>
    private static List<JsonElement> Parts(JsonElement root, string name, string inner)
    {
        if (!root.TryGetProperty(name, out var value) || value.ValueKind != JsonValueKind.Object)
            return [];
        return Text(value, "type") == "Sequence" ? [.. value.GetProperty(inner).EnumerateArray()] : [value];
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
