namespace AgileQuant.Engine;

/// <summary>Turns text into ids and back as the model's own tokenizer does.</summary>
public sealed class Tokenizer
{
    public int VocabularySize => throw new NotSupportedException("under construction");

    public int BosId => throw new NotSupportedException("under construction");

    public bool AddsBos => throw new NotSupportedException("under construction");

    public static Tokenizer Load(string ggufOrFolder) => throw new NotSupportedException("under construction");

    public int[] Encode(string text, bool addSpecial = true) => throw new NotSupportedException("under construction");

    public string Decode(IReadOnlyList<int> ids) => throw new NotSupportedException("under construction");
}
