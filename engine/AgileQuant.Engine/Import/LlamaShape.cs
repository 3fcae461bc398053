using System.Globalization;
using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Import;

/// <summary>Hyperparameters of a LLaMA-architecture model, and its tensors in the order in which our files hold them.</summary>
public sealed record LlamaShape
{
    public const string Architecture = "llama";

    /// <summary>Name the model gives itself; null if none.</summary>
    public string? Name { get; init; }

    public required int ContextLength { get; init; }

    public required int Dimension { get; init; }

    public required int Layers { get; init; }

    public required int FeedForward { get; init; }

    public required int Heads { get; init; }

    public required int KvHeads { get; init; }

    public required int VocabularySize { get; init; }

    public required float Epsilon { get; init; }

    public required float RopeBase { get; init; }

    public required bool TiedOutput { get; init; }

    /// <summary>A <c>rope_freqs.weight</c> tensor divides the rotary frequencies.</summary>
    public bool HasRopeFactors { get; init; }

    public bool RandomWeights { get; init; }

    public int HeadDimension => Dimension / Heads;

    /// <exception cref="ModelFormatException">The numbers do not fit together, or go beyond this version's limits.</exception>
    public LlamaShape Checked(string path)
    {
        Require(Dimension is > 0 and <= 131072, $"width {Dimension} is outside 1..131072");
        Require(FeedForward is > 0 and <= 131072, $"feed-forward width {FeedForward} is outside 1..131072");
        Require(Layers is > 0 and <= 1024, $"{Layers} layers are outside 1..1024");
        Require(VocabularySize is > 0 and <= 1 << 22, $"a vocabulary of {VocabularySize} is outside 1..4194304");
        Require(ContextLength is > 0, $"context length {ContextLength}");
        Require(Heads > 0 && Dimension % Heads == 0 && HeadDimension % 2 == 0,
            $"{Heads} attention heads do not divide a width of {Dimension} into even parts");
        Require(KvHeads > 0 && Heads % KvHeads == 0, $"{Heads} attention heads are no multiple of {KvHeads} key-value heads");
        Require(float.IsFinite(Epsilon) && Epsilon >= 0, $"norm epsilon {Epsilon}");
        Require(float.IsFinite(RopeBase) && RopeBase > 0, $"rotary base {RopeBase}");
        return this;

        void Require(bool holds, string problem)
        {
            if (!holds)
                throw new ModelFormatException($"{path}: {problem}");
        }
    }

    /// <summary>Reads the <c>llama.*</c> keys; works for original, canonical and packed files.</summary>
    public static LlamaShape FromGguf(GgufFile file)
    {
        var keys = file.Metadata;
        var architecture = keys.Text("general.architecture") ?? "none";
        if (architecture != Architecture)
            throw UnsupportedArchitecture(file.Path, architecture);
        if ((keys.Integer("llama.expert_count") ?? 0) > 0)
            throw new ModelFormatException($"{file.Path}: mixture-of-experts models are not supported; dense LLaMA models are");
        var embedding = file.Tensor("token_embd.weight");
        var heads = Required("llama.attention.head_count");
        var shape = new LlamaShape
        {
            Name = keys.Text("general.name"),
            ContextLength = Required("llama.context_length"),
            Dimension = Required("llama.embedding_length"),
            Layers = Required("llama.block_count"),
            FeedForward = Required("llama.feed_forward_length"),
            Heads = heads,
            KvHeads = keys.Integer("llama.attention.head_count_kv") ?? heads,
            VocabularySize = (int)Math.Min(embedding.Rows, int.MaxValue),
            Epsilon = (float)(keys.Real("llama.attention.layer_norm_rms_epsilon")
                ?? throw Missing("llama.attention.layer_norm_rms_epsilon")),
            RopeBase = (float)(keys.Real("llama.rope.freq_base") ?? 10000),
            TiedOutput = !file.Contains("output.weight"),
            HasRopeFactors = file.Contains("rope_freqs.weight"),
            RandomWeights = keys.Flag("agilequant.random_weights") ?? false,
        }.Checked(file.Path);
        foreach (var key in (string[])["llama.rope.dimension_count", "llama.attention.key_length", "llama.attention.value_length"])
        {
            if (keys.Integer(key) is { } size && size != shape.HeadDimension)
            {
                throw new ModelFormatException(
                    $"{file.Path}: {key} is {size}; only models whose heads are {shape.HeadDimension} wide throughout are supported");
            }
        }

        return shape;

        int Required(string key) => keys.Integer(key) ?? throw Missing(key);
        ModelFormatException Missing(string key) => new($"{file.Path}: metadata key {key} is missing");
    }

    /// <summary>The keys of a canonical or packed file, without the vocabulary.</summary>
    public void WriteTo(GgufMetadata keys, TensorType weights)
    {
        keys.Add("general.architecture", Architecture);
        if (!string.IsNullOrEmpty(Name))
            keys.Add("general.name", Name);
        keys.Add("general.file_type", weights switch { TensorType.F16 => 1u, TensorType.BF16 => 32u, TensorType.I8 => 1024u, _ => 0u });
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
        if (RandomWeights)
            keys.Add("agilequant.random_weights", true);
    }

    /// <summary>Names, dimensions (<c>[in, out]</c>) and roles of all tensors, in file order.</summary>
    public IEnumerable<LlamaTensor> Tensors()
    {
        long dim = Dimension, kv = (long)KvHeads * HeadDimension, ffn = FeedForward, vocab = VocabularySize;
        yield return new("token_embd.weight", [dim, vocab], TensorRole.Embedding);
        for (var i = 0; i < Layers; i++)
        {
            var layer = string.Create(CultureInfo.InvariantCulture, $"blk.{i}.");
            yield return new(layer + "attn_norm.weight", [dim], TensorRole.Vector);
            yield return new(layer + "attn_q.weight", [dim, dim], TensorRole.Linear);
            yield return new(layer + "attn_k.weight", [dim, kv], TensorRole.Linear);
            yield return new(layer + "attn_v.weight", [dim, kv], TensorRole.Linear);
            yield return new(layer + "attn_output.weight", [dim, dim], TensorRole.Linear);
            yield return new(layer + "ffn_norm.weight", [dim], TensorRole.Vector);
            yield return new(layer + "ffn_gate.weight", [dim, ffn], TensorRole.Linear);
            yield return new(layer + "ffn_up.weight", [dim, ffn], TensorRole.Linear);
            yield return new(layer + "ffn_down.weight", [ffn, dim], TensorRole.Linear);
        }

        yield return new("output_norm.weight", [dim], TensorRole.Vector);
        if (!TiedOutput)
            yield return new("output.weight", [dim, vocab], TensorRole.Head);
        if (HasRopeFactors)
            yield return new("rope_freqs.weight", [HeadDimension / 2], TensorRole.Vector);
    }

    internal static ModelFormatException UnsupportedArchitecture(string path, string name) =>
        new($"{path}: architecture '{name}' is not supported by this version; LLaMA (1, 2, 3, TinyLlama) is");
}

/// <summary>What a tensor is used for, which decides how it is stored.</summary>
public enum TensorRole
{
    Embedding,
    Linear,
    Head,
    Vector,
}

/// <summary>A tensor that a LLaMA-architecture file must hold.</summary>
public sealed record LlamaTensor(string Name, IReadOnlyList<long> Dimensions, TensorRole Role);
