using System.Text.Json;

namespace AgileQuant.Engine.Tokenization;

/// <summary>Reads <c>vocab.json</c> and <c>merges.txt</c>: GPT-2's byte-level BPE, which OPT has too.</summary>
internal static class VocabularyFiles
{
    /// <param name="folder">Where the two lie; <c>tokenizer_config.json</c> beside them is read too.</param>
    /// <param name="modelVocabulary">Rows of the model's embedding; missing tokens are filled with unused ones. null: as it is.</param>
    /// <exception cref="ModelFormatException">Corrupt, or of another tokenizer.</exception>
    public static Vocabulary Read(string folder, int? modelVocabulary)
    {
        var path = Path.Combine(folder, "vocab.json");
        try
        {
            var ids = new Dictionary<string, int>(StringComparer.Ordinal);
            using (var json = JsonDocument.Parse(File.ReadAllBytes(path)))
            {
                foreach (var piece in json.RootElement.EnumerateObject())
                    ids[piece.Name] = piece.Value.GetInt32();
            }

            var special = new SpecialTokens(folder, ids, -1, -1, -1, addBos: IsOpt(folder));
            if (special.Class is not (null or "GPT2Tokenizer" or "GPT2TokenizerFast"))
            {
                throw new ModelFormatException(
                    $"{folder}: tokenizer class '{special.Class}' without tokenizer.json is not supported; GPT2Tokenizer is");
            }

            var (tokens, kinds) = VocabularyReader.Fill(path, ids, modelVocabulary);
            foreach (var id in special.Ids)
                kinds[id] = TokenKind.Control;
            return special.Apply(new Vocabulary
            {
                Model = Vocabulary.ByteLevelModel,
                Pre = "gpt-2",
                Tokens = tokens,
                Kinds = kinds,
                Merges = Merges(Path.Combine(folder, "merges.txt")),
                AddSpacePrefix = special.AddsPrefixSpace,
            }).Checked(path);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new ModelFormatException($"{path}: corrupt: {e.Message}", e);
        }
    }

    /// <summary>One merge a line, the first merges first, behind a line with the version.</summary>
    private static List<string> Merges(string path)
    {
        if (!File.Exists(path))
            throw new ModelFormatException($"{path}: no such file; vocab.json needs it");
        var merges = new List<string>();
        foreach (var line in File.ReadLines(path))
        {
            if (line.Length == 0 || (merges.Count == 0 && line.StartsWith("#version", StringComparison.Ordinal)))
                continue;
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            if (space <= 0 || space == line.Length - 1 || line.IndexOf(' ', space + 1) >= 0)
                throw new ModelFormatException($"{path}: corrupt: line '{line}' has no two parts");
            merges.Add(line);
        }

        return merges;
    }

    /// <summary>OPT's tokenizer puts BOS in front, also where tokenizer_config.json does not say so.</summary>
    private static bool IsOpt(string folder)
    {
        var path = Path.Combine(folder, "config.json");
        if (!File.Exists(path))
            return false;
        using var json = JsonDocument.Parse(File.ReadAllBytes(path));
        return json.RootElement.TryGetProperty("model_type", out var type) && type.ValueKind == JsonValueKind.String && type.GetString() == "opt";
    }
}
