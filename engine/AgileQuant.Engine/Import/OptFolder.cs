namespace AgileQuant.Engine.Import;

/// <summary>OPT. The table of positions begins with two rows that no token uses (an offset), which are left out.</summary>
internal sealed class OptFolder : FolderFormat
{
    private const int PositionOffset = 2;

    public static OptFolder Read(ConfigFile config)
    {
        config.Refuse(config.Text("activation_function") is not (null or "relu"),
            $"activation '{config.Text("activation_function")}' is not supported; OPT models use relu");
        config.Refuse(config.Flag("enable_bias") == false, "enable_bias is false; OPT models without biases are not supported");
        config.Refuse(config.Flag("layer_norm_elementwise_affine") == false,
            "layer_norm_elementwise_affine is false; OPT models whose norms have no weights are not supported");
        config.Refuse(config.Flag("_remove_final_layer_norm") == true,
            "_remove_final_layer_norm is set; such OPT checkpoints are not supported");
        var dimension = config.Integer("hidden_size", "d_model");
        var heads = config.Integer("num_attention_heads", "decoder_attention_heads");
        var width = config.Optional("word_embed_proj_dim") ?? dimension;
        return new OptFolder
        {
            Shape = new ModelShape
            {
                Architecture = Architecture.Opt,
                Name = config.OwnName(),
                Dimension = dimension,
                FeedForward = config.Integer("ffn_dim", "intermediate_size", "decoder_ffn_dim"),
                Layers = config.Integer("num_hidden_layers", "decoder_layers"),
                Heads = heads,
                KvHeads = heads,
                ContextLength = config.Integer("max_position_embeddings"),
                VocabularySize = config.Integer("vocab_size"),
                Epsilon = (float)(config.Real("layer_norm_eps") ?? 1e-5),
                NormAfter = config.Flag("do_layer_norm_before") == false,
                EmbeddingProjection = width == dimension ? null : width,
                TiedOutput = true,
            }.Checked(config.Path),
            Tied = config.Flag("tie_word_embeddings") ?? true,
        };
    }

    public override string Plain(string name) => Prefixless(name, "model.decoder.", "decoder.") ?? name;

    public override string NameOf(string ours)
    {
        if (Block(ours) is not var (layer, what, kind))
        {
            return ours switch
            {
                "token_embd.weight" => "embed_tokens.weight",
                "position_embd.weight" => "embed_positions.weight",
                "embd_in.weight" => "project_in.weight",
                "embd_out.weight" => "project_out.weight",
                "output_norm.weight" => "final_layer_norm.weight",
                "output_norm.bias" => "final_layer_norm.bias",
                _ => "lm_head.weight",
            };
        }

        var theirs = what switch
        {
            "attn_norm" => "self_attn_layer_norm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.out_proj",
            "ffn_norm" => "final_layer_norm",
            "ffn_up" => "fc1",
            _ => "fc2",
        };
        return $"layers.{layer}.{theirs}.{kind}";
    }

    public override int RowsBefore(string ours) => ours == "position_embd.weight" ? PositionOffset : 0;
}
