using System.Text.Json;

namespace AgileQuant.Engine.Import;

/// <summary>Reads a Hugging Face <c>config.json</c> of the LLaMA architecture, with its aliases and defaults.</summary>
internal static class LlamaConfig
{
    /// <returns>The shape (TiedOutput as the file says, null if silent) and the rotary factors, if the model has any.</returns>
    public static (ModelShape Shape, bool? Tied, Func<int, float>? Factors) Read(string path)
    {
        if (!File.Exists(path))
            throw new ModelFormatException($"{path}: no such file; a Hugging Face model folder holds config.json and *.safetensors");
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return Read(path, json.RootElement);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new ModelFormatException($"{path}: corrupt: {e.Message}", e);
        }
    }

    private static (ModelShape Shape, bool? Tied, Func<int, float>? Factors) Read(string path, JsonElement root)
    {
        RefuseOthers(path, root);
        var heads = Integer("num_attention_heads", "n_head", "n_heads");
        var rope = Object(root, "rope_parameters") ?? Object(root, "rope_scaling");
        var ropeBase = Real(root, "rope_theta") ?? (rope is { } r ? Real(r, "rope_theta") : null) ?? 10000;
        var shape = new ModelShape
        {
            Name = OwnName(root),
            Dimension = Integer("hidden_size", "n_embd", "n_embed", "d_model", "dim"),
            FeedForward = Integer("intermediate_size", "n_inner", "ffn_dim", "hidden_dim"),
            Layers = Integer("num_hidden_layers", "n_layer", "n_layers"),
            Heads = heads,
            KvHeads = Optional(root, "num_key_value_heads", "num_kv_heads", "n_kv_heads") ?? heads,
            ContextLength = Optional(root, "max_position_embeddings", "max_sequence_length", "n_positions", "seq_length", "n_ctx") ?? 2048,
            VocabularySize = Integer("vocab_size"),
            Epsilon = (float)(Real(root, "rms_norm_eps") ?? Real(root, "layer_norm_epsilon") ?? 1e-6),
            RopeBase = (float)ropeBase,
            TiedOutput = false,
        }.Checked(path);
        if (Optional(root, "head_dim") is { } headDimension && headDimension != shape.HeadDimension)
        {
            throw new ModelFormatException(
                $"{path}: head_dim {headDimension} differs from hidden_size / num_attention_heads = {shape.HeadDimension}; not supported");
        }

        var factors = rope is { } scaling ? Scaling(path, scaling, shape) : null;
        return (shape with { HasRopeFactors = factors is not null }, Flag(root, "tie_word_embeddings"), factors);

        int Integer(params string[] names) =>
            Optional(root, names) ?? throw new ModelFormatException($"{path}: {names[0]} is missing");
    }

    private static void RefuseOthers(string path, JsonElement root)
    {
        var type = Text(root, "model_type");
        if (type is null && root.TryGetProperty("architectures", out var list) && list.ValueKind == JsonValueKind.Array && list.GetArrayLength() > 0)
            type = list[0].GetString() == "LlamaForCausalLM" ? "llama" : list[0].GetString();
        if (type != "llama")
            throw Architectures.Unsupported(path, type ?? "none");
        if (Text(root, "hidden_act") is { } activation && activation is not ("silu" or "swish"))
            throw new ModelFormatException($"{path}: activation '{activation}' is not supported; LLaMA models use silu");
        foreach (var bias in (string[])["attention_bias", "mlp_bias"])
        {
            if (Flag(root, bias) == true)
                throw new ModelFormatException($"{path}: {bias} is set; LLaMA models with biases are not supported");
        }

        if (Object(root, "quantization_config") is not null)
            throw new ModelFormatException($"{path}: the model is already quantized; import the original 16-bit weights");
    }

    private static Func<int, float>? Scaling(string path, JsonElement scaling, ModelShape shape)
    {
        var kind = Text(scaling, "rope_type") ?? Text(scaling, "type") ?? "default";
        switch (kind)
        {
            case "default":
                return null;
            case "linear":
                var linear = (float)Needed("factor");
                return _ => linear;
            case "llama3":
                return RopeFactors.Llama3(
                    shape.RopeBase, shape.HeadDimension, Needed("factor"), Needed("low_freq_factor"), Needed("high_freq_factor"),
                    Needed("original_max_position_embeddings"));
            default:
                throw new ModelFormatException($"{path}: rotary scaling '{kind}' is not supported; none, linear and llama3 are");
        }

        double Needed(string name) => Real(scaling, name) is { } value && value > 0
            ? value
            : throw new ModelFormatException($"{path}: {name} of the rotary scaling is missing or not positive");
    }

    /// <summary>Last part of the repository name the configuration mentions, if it does.</summary>
    private static string? OwnName(JsonElement root)
    {
        var name = Text(root, "_name_or_path")?.TrimEnd('/', '\\');
        return string.IsNullOrEmpty(name) ? null : name[(name.LastIndexOfAny(['/', '\\']) + 1)..];
    }

    private static int? Optional(JsonElement root, params string[] names)
    {
        foreach (var name in names)
        {
            if (root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number)
                return value.GetInt32();
        }

        return null;
    }

    private static double? Real(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;

    private static string? Text(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static bool? Flag(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : null;

    private static JsonElement? Object(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Object ? value : null;
}
