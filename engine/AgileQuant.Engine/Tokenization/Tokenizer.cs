using System.Text;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Tokenization;

namespace AgileQuant.Engine;

/// <summary>
/// Turns text into ids and back as the model's own tokenizer does. Text that looks like a special token is text. May be used
/// from several threads.
/// </summary>
public sealed class Tokenizer
{
    private readonly Vocabulary _vocabulary;
    private readonly IEncoder _encoder;

    private Tokenizer(Vocabulary vocabulary, string path)
    {
        _vocabulary = vocabulary;
        _encoder = vocabulary.Model == Vocabulary.SentencePieceModel
            ? new SentencePieceEncoder(vocabulary)
            : new ByteLevelEncoder(vocabulary, path);
    }

    public int VocabularySize => _vocabulary.Tokens.Count;

    /// <summary>Id of the begin-of-sequence token, -1 if there is none.</summary>
    public int BosId => _vocabulary.BosId;

    /// <summary>The tokenizer puts BOS in front of a text.</summary>
    public bool AddsBos => _vocabulary.AddBos;

    /// <param name="ggufOrFolder">
    /// A GGUF file with a vocabulary; a folder with tokenizer.json, tokenizer.model, or vocab.json and merges.txt; or one of these files.
    /// </param>
    /// <exception cref="ModelFormatException">There is no tokenizer, or one this version does not support.</exception>
    public static Tokenizer Load(string ggufOrFolder)
    {
        if (Directory.Exists(ggufOrFolder))
        {
            return new Tokenizer(TokenizerFolder.Read(ggufOrFolder, null)
                ?? throw new ModelFormatException($"{ggufOrFolder}: there is no tokenizer ({TokenizerFolder.Files})"), ggufOrFolder);
        }

        if (ggufOrFolder.EndsWith(".model", StringComparison.OrdinalIgnoreCase) && File.Exists(ggufOrFolder))
            return new Tokenizer(SentencePieceModel.Read(ggufOrFolder, null), ggufOrFolder);
        if (ggufOrFolder.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
            return Load(Path.GetDirectoryName(Path.GetFullPath(ggufOrFolder))!);

        using var file = GgufFile.Open(ggufOrFolder);
        if (!file.Metadata.Contains("tokenizer.ggml.tokens"))
            throw new ModelFormatException($"{ggufOrFolder}: the model carries no vocabulary; import it from a folder with a tokenizer ({TokenizerFolder.Files})");
        return new Tokenizer(Vocabulary.FromGguf(file.Metadata, ggufOrFolder), ggufOrFolder);
    }

    /// <param name="text">Any text; unpaired surrogates become U+FFFD.</param>
    /// <param name="addSpecial">Put BOS in front and EOS at the end where the tokenizer does so.</param>
    public int[] Encode(string text, bool addSpecial = true)
    {
        var ids = new List<int>(text.Length / 3 + 4);
        if (addSpecial && _vocabulary.AddBos)
            ids.Add(_vocabulary.BosId);
        _encoder.Encode(text, ids);
        if (addSpecial && _vocabulary is { AddEos: true, EosId: >= 0 })
            ids.Add(_vocabulary.EosId);
        return [.. ids];
    }

    /// <summary>The text the ids stand for; control tokens stand for nothing, the space a tokenizer puts in front is taken off.</summary>
    /// <exception cref="ArgumentException">An id is outside the vocabulary.</exception>
    public string Decode(IReadOnlyList<int> ids)
    {
        var bytes = new List<byte>(ids.Count * 4);
        foreach (var id in ids)
        {
            if (id < 0 || id >= VocabularySize)
                throw new ArgumentException($"id {id} is outside the vocabulary of {VocabularySize}", nameof(ids));
            if (_vocabulary.Kinds[id] is not (TokenKind.Control or TokenKind.Unused))
                _encoder.Decode(id, bytes);
        }

        var text = Encoding.UTF8.GetString(bytes.ToArray());
        var prefixed = _vocabulary is { AddSpacePrefix: true, Model: Vocabulary.SentencePieceModel };
        return prefixed && text.StartsWith(' ') ? text[1..] : text;
    }
}
