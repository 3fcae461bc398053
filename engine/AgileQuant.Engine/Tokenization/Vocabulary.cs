using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Tokenization;

/// <summary>Kinds of tokens, with GGUF's numbers.</summary>
public enum TokenKind
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// <summary>A tokenizer's data as GGUF keeps it under <c>tokenizer.ggml.*</c>.</summary>
public sealed class Vocabulary
{
    public const string ByteLevelModel = "gpt2";
    public const string SentencePieceModel = "llama";
    private const string IgnoreMergesKey = "tokenizer.ggml.ignore_merges";

    /// <summary><c>gpt2</c>: byte-level BPE with ranked merges. <c>llama</c>: SentencePiece-style BPE with scores.</summary>
    public required string Model { get; init; }

    /// <summary>GGUF name of the pre-tokenizer, for byte-level BPE.</summary>
    public string Pre { get; init; } = "default";

    public required IReadOnlyList<string> Tokens { get; init; }

    public required IReadOnlyList<TokenKind> Kinds { get; init; }

    /// <summary>Of SentencePiece-style tokens; a higher score merges first.</summary>
    public IReadOnlyList<float> Scores { get; init; } = [];

    /// <summary>Of byte-level BPE: two pieces with a space between, the first merges first.</summary>
    public IReadOnlyList<string> Merges { get; init; } = [];

    /// <summary>
    /// Of byte-level BPE: a word that is a token is taken as it is, without merging. null: as the pre-tokenizer has it (Llama 3's
    /// does so).
    /// </summary>
    public bool? IgnoreMerges { get; init; }

    /// <summary><see cref="IgnoreMerges"/>, or what the pre-tokenizer has.</summary>
    public bool TakesWholeWords => IgnoreMerges ?? PreTokenizers.Find(Pre) == PreTokenizer.Llama3;

    public int BosId { get; init; } = -1;

    public int EosId { get; init; } = -1;

    public int UnknownId { get; init; } = -1;

    public int PadId { get; init; } = -1;

    public bool AddBos { get; init; }

    public bool AddEos { get; init; }

    /// <summary>A space is put in front of a text before it is split.</summary>
    public bool AddSpacePrefix { get; init; }

    /// <exception cref="ModelFormatException">A tokenizer that this version does not know, or inconsistent data.</exception>
    public static Vocabulary FromGguf(GgufMetadata keys, string path)
    {
        var model = keys.Text("tokenizer.ggml.model") ?? "none";
        if (model is not (ByteLevelModel or SentencePieceModel))
            throw new ModelFormatException($"{path}: tokenizer '{model}' is not supported; gpt2 (byte-level BPE) and llama are");
        if (!keys.TryGet<string[]>("tokenizer.ggml.tokens", out var tokens))
            throw new ModelFormatException($"{path}: the vocabulary has no tokens");
        var isSentencePiece = model == SentencePieceModel;
        var pre = keys.Text("tokenizer.ggml.pre") ?? "default";
        var result = new Vocabulary
        {
            Model = model,
            Pre = pre,
            Tokens = tokens,
            Kinds = keys.TryGet<int[]>("tokenizer.ggml.token_type", out var kinds)
                ? Array.ConvertAll(kinds, k => (TokenKind)k)
                : Enumerable.Repeat(TokenKind.Normal, tokens.Length).ToArray(),
            Scores = keys.TryGet<float[]>("tokenizer.ggml.scores", out var scores) ? scores : [],
            Merges = keys.TryGet<string[]>("tokenizer.ggml.merges", out var merges) ? merges : [],
            IgnoreMerges = keys.Flag(IgnoreMergesKey),
            BosId = keys.Integer("tokenizer.ggml.bos_token_id") ?? (isSentencePiece ? 1 : -1),
            EosId = keys.Integer("tokenizer.ggml.eos_token_id") ?? (isSentencePiece ? 2 : -1),
            UnknownId = keys.Integer("tokenizer.ggml.unknown_token_id") ?? (isSentencePiece ? 0 : -1),
            PadId = keys.Integer("tokenizer.ggml.padding_token_id") ?? -1,
            AddBos = keys.Flag("tokenizer.ggml.add_bos_token") ?? (isSentencePiece || PreTokenizers.Find(pre) == PreTokenizer.Llama3),
            AddEos = keys.Flag("tokenizer.ggml.add_eos_token") ?? false,
            AddSpacePrefix = keys.Flag("tokenizer.ggml.add_space_prefix") ?? isSentencePiece,
        };
        return result.Checked(path);
    }

    public void WriteTo(GgufMetadata keys)
    {
        keys.Add("tokenizer.ggml.model", Model);
        keys.Add("tokenizer.ggml.pre", Pre);
        keys.Add("tokenizer.ggml.tokens", Tokens.ToArray());
        if (Scores.Count > 0)
            keys.Add("tokenizer.ggml.scores", Scores.ToArray());
        keys.Add("tokenizer.ggml.token_type", Kinds.Select(k => (int)k).ToArray());
        if (Model == ByteLevelModel)
            keys.Add("tokenizer.ggml.merges", Merges.ToArray());
        if (TakesWholeWords != (PreTokenizers.Find(Pre) == PreTokenizer.Llama3))
            keys.Add(IgnoreMergesKey, TakesWholeWords); // ours: llama.cpp goes by the pre-tokenizer
        AddId("bos", BosId);
        AddId("eos", EosId);
        AddId("unknown", UnknownId);
        AddId("padding", PadId);
        keys.Add("tokenizer.ggml.add_bos_token", AddBos);
        keys.Add("tokenizer.ggml.add_eos_token", AddEos);
        keys.Add("tokenizer.ggml.add_space_prefix", AddSpacePrefix);

        void AddId(string name, int id)
        {
            if (id >= 0)
                keys.Add($"tokenizer.ggml.{name}_token_id", (uint)id);
        }
    }

    public void CheckSize(int modelVocabulary, string path)
    {
        if (Tokens.Count != modelVocabulary)
            throw new ModelFormatException($"{path}: the tokenizer has {Tokens.Count} tokens, the model {modelVocabulary}");
    }

    internal Vocabulary Checked(string path)
    {
        if (Kinds.Count != Tokens.Count || (Scores.Count != Tokens.Count && (Model == SentencePieceModel || Scores.Count > 0)))
        {
            throw new ModelFormatException(
                $"{path}: corrupt vocabulary: {Tokens.Count} tokens, {Kinds.Count} types, {Scores.Count} scores");
        }

        foreach (var id in (int[])[BosId, EosId, UnknownId, PadId])
        {
            if (id < -1 || id >= Tokens.Count)
                throw new ModelFormatException($"{path}: corrupt vocabulary: special token {id} of {Tokens.Count}");
        }

        if (Model == ByteLevelModel && PreTokenizers.Find(Pre) is null)
        {
            throw new ModelFormatException(
                $"{path}: pre-tokenizer '{Pre}' is not supported; {string.Join(", ", PreTokenizers.Names)} are");
        }

        return AddBos && BosId < 0
            ? throw new ModelFormatException($"{path}: the tokenizer adds a begin-of-sequence token but names none")
            : this;
    }
}
