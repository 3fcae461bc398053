using System.Text.Json;

namespace AgileQuant.Engine.Tokenization;

/// <summary>
/// Which special tokens a Hugging Face tokenizer has and adds. The post-processor of tokenizer.json decides what is added;
/// without one, tokenizer_config.json does.
/// </summary>
internal sealed class SpecialTokens
{
    private readonly int _bos;
    private readonly int _eos;
    private readonly int _unknown;
    private readonly int _pad;
    private readonly bool _addBos;
    private readonly bool _addEos;

    /// <summary>As <paramref name="tokenizer"/>, a tokenizer.json, and the files beside it say.</summary>
    public SpecialTokens(string folder, JsonElement tokenizer, Dictionary<string, int> ids)
        : this(folder, ids, -1, -1, -1, addBos: false)
    {
        var (first, last, found) = Template(tokenizer);
        if (!found)
            return;
        _addBos = first is not null;
        _addEos = last is not null;
        _bos = first is null ? _bos : ids.GetValueOrDefault(first, _bos);
        _eos = last is null ? _eos : ids.GetValueOrDefault(last, _eos);
    }

    /// <summary>As tokenizer_config.json and config.json say.</summary>
    /// <param name="folder">Where they lie.</param>
    /// <param name="ids">By token.</param>
    /// <param name="bos">BOS where they do not name one, -1: none.</param>
    /// <param name="eos">Likewise.</param>
    /// <param name="pad">Likewise.</param>
    /// <param name="addBos">Whether BOS is put in front where they do not say.</param>
    public SpecialTokens(string folder, Dictionary<string, int> ids, int bos, int eos, int pad, bool addBos)
    {
        using var config = Parse(Path.Combine(folder, "tokenizer_config.json"));
        using var model = Parse(Path.Combine(folder, "config.json"));
        _bos = Id("bos", bos);
        _eos = Id("eos", eos);
        _unknown = Id("unk", -1);
        _pad = Id("pad", pad);
        _addBos = _bos >= 0 && Flag("add_bos_token", addBos);
        _addEos = _eos >= 0 && Flag("add_eos_token", false);
        AddsPrefixSpace = Flag("add_prefix_space", false);
        Class = config?.RootElement.TryGetProperty("tokenizer_class", out var name) == true && name.ValueKind == JsonValueKind.String
            ? name.GetString()
            : null;

        int Id(string name, int otherwise)
        {
            if (config?.RootElement.TryGetProperty(name + "_token", out var token) == true)
            {
                var content = token.ValueKind == JsonValueKind.Object && token.TryGetProperty("content", out var inner) ? inner : token;
                if (content.ValueKind == JsonValueKind.String && ids.TryGetValue(content.GetString()!, out var id))
                    return id;
                if (content.ValueKind == JsonValueKind.Null)
                    return -1;
            }

            return model?.RootElement.TryGetProperty(name + "_token_id", out var number) == true
                && number.ValueKind == JsonValueKind.Number && number.TryGetInt32(out var value) && ids.ContainsValue(value)
                ? value
                : otherwise;
        }

        bool Flag(string name, bool otherwise) => config?.RootElement.TryGetProperty(name, out var flag) == true
            && flag.ValueKind is JsonValueKind.True or JsonValueKind.False ? flag.GetBoolean() : otherwise;
    }

    /// <summary>Class of the tokenizer that tokenizer_config.json names; null if it names none.</summary>
    public string? Class { get; }

    /// <summary>tokenizer_config.json has a space put in front of a text.</summary>
    public bool AddsPrefixSpace { get; }

    /// <summary>Those that there are.</summary>
    public IEnumerable<int> Ids => ((int[])[_bos, _eos, _unknown, _pad]).Where(id => id >= 0).Distinct();

    public Vocabulary Apply(Vocabulary vocabulary) => new()
    {
        Model = vocabulary.Model,
        Pre = vocabulary.Pre,
        Tokens = vocabulary.Tokens,
        Kinds = vocabulary.Kinds,
        Scores = vocabulary.Scores,
        Merges = vocabulary.Merges,
        IgnoreMerges = vocabulary.IgnoreMerges,
        AddSpacePrefix = vocabulary.AddSpacePrefix,
        BosId = _bos,
        EosId = _eos,
        UnknownId = vocabulary.UnknownId >= 0 ? vocabulary.UnknownId : _unknown,
        PadId = _pad,
        AddBos = _addBos,
        AddEos = _addEos,
    };

    /// <summary>Special tokens before and after the sequence in a TemplateProcessing post-processor.</summary>
    private static (string? First, string? Last, bool Found) Template(JsonElement tokenizer)
    {
        if (!tokenizer.TryGetProperty("post_processor", out var post) || post.ValueKind != JsonValueKind.Object)
            return (null, null, false);
        List<JsonElement> processors = post.TryGetProperty("processors", out var list) ? [.. list.EnumerateArray()] : [post];
        foreach (var processor in processors)
        {
            if (!processor.TryGetProperty("single", out var single))
                continue;
            var parts = single.EnumerateArray().ToList();
            return parts.Count == 0 ? (null, null, true) : (Name(parts[0]), parts.Count > 1 ? Name(parts[^1]) : null, true);
        }

        return (null, null, false);
    }

    private static string? Name(JsonElement part) =>
        part.TryGetProperty("SpecialToken", out var token) ? token.GetProperty("id").GetString() : null;

    private static JsonDocument? Parse(string path)
    {
        if (!File.Exists(path))
            return null;
        try
        {
            var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return json.RootElement.ValueKind == JsonValueKind.Object ? json : throw new JsonException("not an object");
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"{path}: corrupt: {e.Message}", e);
        }
    }
}
