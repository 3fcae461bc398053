namespace AgileQuant.Engine.Import;

/// <summary>BLOOM. The rows of its fused q, k, v stand as [head][q, k, v][head dimension]; ours, as llama.cpp's, as q, then k, then v.</summary>
internal sealed class BloomFolder : FolderFormat
{
    public static BloomFolder Read(ConfigFile config)
    {
        config.Refuse(config.Flag("apply_residual_connection_post_layernorm") == true,
            "apply_residual_connection_post_layernorm is set; such BLOOM models are not supported");
        var dimension = config.Integer("hidden_size", "n_embed", "n_embd");
        var heads = config.Integer("num_attention_heads", "n_head");
        return new BloomFolder
        {
            Shape = new ModelShape
            {
                Architecture = Architecture.Bloom,
                Name = config.OwnName(),
                Dimension = dimension,
                FeedForward = config.Optional("n_inner", "intermediate_size") ?? (int)Math.Min(4L * dimension, int.MaxValue),
                Layers = config.Integer("num_hidden_layers", "n_layer"),
                Heads = heads,
                KvHeads = heads,
                ContextLength = config.Optional("seq_length", "max_position_embeddings", "n_positions") ?? 2048,
                VocabularySize = config.Integer("vocab_size"),
                Epsilon = (float)(config.Real("layer_norm_epsilon") ?? 1e-5),
                TiedOutput = true,
            }.Checked(config.Path),
            Tied = config.Flag("tie_word_embeddings") ?? true,
        };
    }

    public override string Plain(string name) => Prefixless(name, "transformer.") ?? name;

    public override string NameOf(string ours)
    {
        if (Block(ours) is not var (layer, what, kind))
        {
            return ours switch
            {
                "token_embd.weight" => "word_embeddings.weight",
                "token_embd_norm.weight" => "word_embeddings_layernorm.weight",
                "token_embd_norm.bias" => "word_embeddings_layernorm.bias",
                "output_norm.weight" => "ln_f.weight",
                "output_norm.bias" => "ln_f.bias",
                _ => "lm_head.weight",
            };
        }

        var theirs = what switch
        {
            "attn_norm" => "input_layernorm",
            "attn_qkv" => "self_attention.query_key_value",
            "attn_output" => "self_attention.dense",
            "ffn_norm" => "post_attention_layernorm",
            "ffn_up" => "mlp.dense_h_to_4h",
            _ => "mlp.dense_4h_to_h",
        };
        return $"h.{layer}.{theirs}.{kind}";
    }

    public override bool Permutes(string ours) => Block(ours) is (_, "attn_qkv", _);

    public override long SourceRow(string ours, long row)
    {
        var (part, inPart) = Math.DivRem(row, Shape.Dimension);
        var (head, inside) = Math.DivRem(inPart, Shape.HeadDimension);
        return (head * 3 + part) * Shape.HeadDimension + inside;
    }
}
