using System.Text.Json;

namespace AgileQuant.Engine.Tokenization;

/// <summary>
/// Which special tokens a Hugging Face tokenizer has and adds. The post-processor decides what is added; without one,
/// tokenizer_config.json does.
/// </summary>
internal sealed class SpecialTokens
{
    private readonly int _bos;
    private readonly int _eos;
    private readonly int _unknown;
    private readonly int _pad;
    private readonly bool _addBos;
    private readonly bool _addEos;

    public SpecialTokens(string folder, JsonElement tokenizer, Dictionary<string, int> ids)
    {
        using var config = Parse(Path.Combine(folder, "tokenizer_config.json"));
        using var model = Parse(Path.Combine(folder, "config.json"));
        _bos = Id("bos");
        _eos = Id("eos");
        _unknown = Id("unk");
        _pad = Id("pad");
        var (first, last, found) = Template(tokenizer);
        if (found)
        {
            _addBos = first is not null;
            _addEos = last is not null;
            _bos = first is null ? _bos : ids.GetValueOrDefault(first, _bos);
            _eos = last is null ? _eos : ids.GetValueOrDefault(last, _eos);
        }
        else
        {
            _addBos = _bos >= 0 && Flag("add_bos_token");
            _addEos = _eos >= 0 && Flag("add_eos_token");
        }

        int Id(string name)
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
                && number.ValueKind == JsonValueKind.Number && ids.ContainsValue(number.GetInt32())
                ? number.GetInt32()
                : -1;
        }

        bool Flag(string name) => config?.RootElement.TryGetProperty(name, out var flag) == true && flag.ValueKind == JsonValueKind.True;
    }

    public Vocabulary Apply(Vocabulary vocabulary) => new()
    {
        Model = vocabulary.Model,
        Pre = vocabulary.Pre,
        Tokens = vocabulary.Tokens,
        Kinds = vocabulary.Kinds,
        Scores = vocabulary.Scores,
        Merges = vocabulary.Merges,
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

    private static JsonDocument? Parse(string path) => File.Exists(path) ? JsonDocument.Parse(File.ReadAllBytes(path)) : null;
}
