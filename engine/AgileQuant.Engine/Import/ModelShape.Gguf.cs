using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Import;

public sealed partial record ModelShape
{
    private string Prefix => Architectures.NameOf(Architecture) + ".";

    /// <summary>Reads the architecture's keys; works for original, canonical and packed files.</summary>
    /// <exception cref="ModelFormatException">An architecture or a variant of one that this version does not support.</exception>
    public static ModelShape FromGguf(GgufFile file)
    {
        var keys = file.Metadata;
        var name = keys.Text("general.architecture") ?? "none";
        var architecture = Architectures.Find(name) ?? throw Architectures.Unsupported(file.Path, name);
        if ((keys.Integer(name + ".expert_count") ?? 0) > 0)
            throw new ModelFormatException($"{file.Path}: mixture-of-experts models are not supported; dense LLaMA, OPT and BLOOM models are");
        if ((keys.Integer(name + ".attention.sliding_window") ?? 0) > 0)
            throw new ModelFormatException($"{file.Path}: sliding-window attention is not supported; attention to all earlier tokens is");
        var heads = Required("attention.head_count");
        var epsilon = name + (architecture == Architecture.Llama ? ".attention.layer_norm_rms_epsilon" : ".attention.layer_norm_epsilon");
        var shape = new ModelShape
        {
            Architecture = architecture,
            Name = keys.Text("general.name"),
            ContextLength = Required("context_length"),
            Dimension = Required("embedding_length"),
            Layers = Required("block_count"),
            FeedForward = Required("feed_forward_length"),
            Heads = heads,
            KvHeads = keys.Integer(name + ".attention.head_count_kv") ?? heads,
            VocabularySize = (int)Math.Min(file.Tensor("token_embd.weight").Rows, int.MaxValue),
            Epsilon = (float)(keys.Real(epsilon) ?? throw Missing(epsilon)),
            RopeBase = (float)(keys.Real(name + ".rope.freq_base") ?? 10000),
            TiedOutput = !file.Contains("output.weight"),
            HasRopeFactors = architecture == Architecture.Llama && file.Contains("rope_freqs.weight"),
            NormAfter = keys.Flag("opt.norm_after") ?? false,
            EmbeddingProjection = keys.Integer("opt.embedding_projection"),
            RandomWeights = keys.Flag("agilequant.random_weights") ?? false,
        }.Checked(file.Path);
        shape.RefuseOtherHeads(file);
        return shape;

        int Required(string key) => keys.Integer($"{name}.{key}") ?? throw Missing($"{name}.{key}");
        ModelFormatException Missing(string key) => new($"{file.Path}: metadata key {key} is missing");
    }

    /// <summary>The keys of a canonical or packed file, without the vocabulary.</summary>
    public void WriteTo(GgufMetadata keys, TensorType weights)
    {
        keys.Add("general.architecture", Architectures.NameOf(Architecture));
        if (!string.IsNullOrEmpty(Name))
            keys.Add("general.name", Name);
        keys.Add("general.file_type", weights switch { TensorType.F16 => 1u, TensorType.BF16 => 32u, TensorType.I8 => 1024u, _ => 0u });
        switch (Architecture)
        {
            case Architecture.Opt:
                WriteOpt(keys);
                break;
            case Architecture.Bloom:
                WriteBloom(keys);
                break;
            default:
                WriteLlama(keys);
                break;
        }

        if (RandomWeights)
            keys.Add("agilequant.random_weights", true);
    }

    private void WriteLlama(GgufMetadata keys)
    {
        keys.Add("llama.context_length", (uint)ContextLength);
        keys.Add("llama.embedding_length", (uint)Dimension);
        keys.Add("llama.block_count", (uint)Layers);
        keys.Add("llama.feed_forward_length", (uint)FeedForward);
        keys.Add("llama.attention.head_count", (uint)Heads);
        keys.Add("llama.attention.head_count_kv", (uint)KvHeads);
        keys.Add("llama.attention.layer_norm_rms_epsilon", Epsilon);
        keys.Add("llama.rope.freq_base", RopeBase);
        keys.Add("llama.rope.dimension_count", (uint)HeadDimension);
        keys.Add("llama.vocab_size", (uint)VocabularySize);
    }

    private void WriteOpt(GgufMetadata keys)
    {
        keys.Add("opt.context_length", (uint)ContextLength);
        keys.Add("opt.embedding_length", (uint)Dimension);
        keys.Add("opt.block_count", (uint)Layers);
        keys.Add("opt.feed_forward_length", (uint)FeedForward);
        keys.Add("opt.attention.head_count", (uint)Heads);
        keys.Add("opt.attention.layer_norm_epsilon", Epsilon);
        keys.Add("opt.vocab_size", (uint)VocabularySize);
        if (NormAfter)
            keys.Add("opt.norm_after", true);
        if (EmbeddingProjection is { } width)
            keys.Add("opt.embedding_projection", (uint)width);
    }

    private void WriteBloom(GgufMetadata keys)
    {
        keys.Add("bloom.context_length", (uint)ContextLength);
        keys.Add("bloom.embedding_length", (uint)Dimension);
        keys.Add("bloom.feed_forward_length", (uint)FeedForward);
        keys.Add("bloom.block_count", (uint)Layers);
        keys.Add("bloom.attention.head_count", (uint)Heads);
        keys.Add("bloom.attention.head_count_kv", (uint)KvHeads);
        keys.Add("bloom.attention.layer_norm_epsilon", Epsilon);
        keys.Add("bloom.vocab_size", (uint)VocabularySize);
    }

    private void RefuseOtherHeads(GgufFile file)
    {
        foreach (var part in (string[])["rope.dimension_count", "attention.key_length", "attention.value_length"])
        {
            if (file.Metadata.Integer(Prefix + part) is { } size && size != HeadDimension)
            {
                throw new ModelFormatException(
                    $"{file.Path}: {Prefix}{part} is {size}; only models whose heads are {HeadDimension} wide throughout are supported");
            }
        }
    }
}
