namespace AgileQuant.Engine.Tokenization;

/// <summary>The tokenizer of a Hugging Face folder, in whichever files it comes.</summary>
internal static class TokenizerFolder
{
    /// <summary>What <see cref="Read"/> looks for, for messages.</summary>
    public const string Files = "tokenizer.json, tokenizer.model, or vocab.json and merges.txt";

    /// <param name="folder">Searched for <c>tokenizer.json</c>, then <c>tokenizer.model</c>, then <c>vocab.json</c>.</param>
    /// <param name="modelVocabulary">Rows of the model's embedding; missing tokens are filled with unused ones. null: as it is.</param>
    /// <returns>null when the folder has none of them.</returns>
    /// <exception cref="ModelFormatException">Corrupt, or a tokenizer that this version does not support.</exception>
    public static Vocabulary? Read(string folder, int? modelVocabulary)
    {
        if (VocabularyReader.FromFolder(folder, modelVocabulary) is { } vocabulary)
            return vocabulary;
        var model = Path.Combine(folder, "tokenizer.model");
        if (File.Exists(model))
            return SentencePieceModel.Read(model, modelVocabulary);
        return File.Exists(Path.Combine(folder, "vocab.json")) ? VocabularyFiles.Read(folder, modelVocabulary) : null;
    }
}
