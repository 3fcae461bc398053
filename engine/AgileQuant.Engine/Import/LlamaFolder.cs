using System.Text.Json;

namespace AgileQuant.Engine.Import;

/// <summary>
/// LLaMA. Hugging Face rotates halves of a head (elements i and i + d/2), llama.cpp neighbours (2i and 2i + 1): rows of q and k
/// change places.
/// </summary>
internal sealed class LlamaFolder : FolderFormat
{
    public static LlamaFolder Read(ConfigFile config)
    {
        RefuseVariants(config);
        var heads = config.Integer("num_attention_heads", "n_head", "n_heads");
        var rope = config.Object("rope_parameters") ?? config.Object("rope_scaling");
        var ropeBase = config.Real("rope_theta") ?? (rope is { } r ? ConfigFile.Real(r, "rope_theta") : null) ?? 10000;
        var shape = new ModelShape
        {
            Name = config.OwnName(),
            Dimension = config.Integer("hidden_size", "n_embd", "n_embed", "d_model", "dim"),
            FeedForward = config.Integer("intermediate_size", "n_inner", "ffn_dim", "hidden_dim"),
            Layers = config.Integer("num_hidden_layers", "n_layer", "n_layers"),
            Heads = heads,
            KvHeads = config.Optional("num_key_value_heads", "num_kv_heads", "n_kv_heads") ?? heads,
            ContextLength = config.Optional("max_position_embeddings", "max_sequence_length", "n_positions", "seq_length", "n_ctx") ?? 2048,
            VocabularySize = config.Integer("vocab_size"),
            Epsilon = (float)(config.Real("rms_norm_eps") ?? config.Real("layer_norm_epsilon") ?? 1e-6),
            RopeBase = (float)ropeBase,
            TiedOutput = false,
        }.Checked(config.Path);
        var headDimension = config.Optional("head_dim");
        config.Refuse(headDimension is not null && headDimension != shape.HeadDimension,
            $"head_dim {headDimension} differs from hidden_size / num_attention_heads = {shape.HeadDimension}; not supported");
        var factors = rope is { } scaling ? Scaling(config, scaling, shape) : null;
        return new LlamaFolder
        {
            Shape = shape with { HasRopeFactors = factors is not null },
            Tied = config.Flag("tie_word_embeddings"),
            RopeFactors = factors,
        };
    }

    public override string Plain(string name) => Prefixless(name, "model.") ?? name;

    public override string NameOf(string ours)
    {
        if (Block(ours) is not var (layer, what, kind))
            return ours switch { "token_embd.weight" => "embed_tokens.weight", "output_norm.weight" => "norm.weight", _ => "lm_head.weight" };
        var theirs = what switch
        {
            "attn_norm" => "input_layernorm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "ffn_norm" => "post_attention_layernorm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            _ => "mlp.down_proj",
        };
        return $"layers.{layer}.{theirs}.{kind}";
    }

    public override bool Permutes(string ours) => Block(ours) is (_, "attn_q" or "attn_k", _);

    public override long SourceRow(string ours, long row)
    {
        var (head, inside) = Math.DivRem(row, Shape.HeadDimension);
        return head * Shape.HeadDimension + inside / 2 + inside % 2 * (Shape.HeadDimension / 2);
    }

    public override bool Ignores(string plain) => plain.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal);

    private static void RefuseVariants(ConfigFile config)
    {
        config.Refuse(config.Text("hidden_act") is not (null or "silu" or "swish"),
            $"activation '{config.Text("hidden_act")}' is not supported; LLaMA models use silu");
        config.Refuse(config.Real("partial_rotary_factor") is not (null or 1.0),
            "partial_rotary_factor is set; LLaMA models rotate whole heads");
        foreach (var bias in (string[])["attention_bias", "mlp_bias"])
            config.Refuse(config.Flag(bias) == true, $"{bias} is set; LLaMA models with biases are not supported");
    }

    private static Func<int, float>? Scaling(ConfigFile config, JsonElement scaling, ModelShape shape)
    {
        var kind = ConfigFile.Text(scaling, "rope_type") ?? ConfigFile.Text(scaling, "type") ?? "default";
        switch (kind)
        {
            case "default":
                return null;
            case "linear":
                var linear = (float)Needed("factor");
                return _ => linear;
            case "llama3":
                return Import.RopeFactors.Llama3(
                    shape.RopeBase, shape.HeadDimension, Needed("factor"), Needed("low_freq_factor"), Needed("high_freq_factor"),
                    Needed("original_max_position_embeddings"));
            default:
                throw config.Bad($"rotary scaling '{kind}' is not supported; none, linear and llama3 are");
        }

        double Needed(string name) => ConfigFile.Real(scaling, name) is { } value && value > 0
            ? value
            : throw config.Bad($"{name} of the rotary scaling is missing or not positive");
    }
}
