namespace AgileQuant.Engine;

/// <summary>
/// A model, tokenizer or token file that cannot be used: truncated, corrupt, or of a kind this version does not support.
/// The message names the file and says what is wrong with it; what it quotes of a damaged file is cut short.
/// </summary>
public sealed class ModelFormatException : Exception
{
    private const int Longest = 1000;

    public ModelFormatException()
    {
    }

    public ModelFormatException(string message)
        : base(Shorten(message))
    {
    }

    public ModelFormatException(string message, Exception innerException)
        : base(Shorten(message), innerException)
    {
    }

    private static string Shorten(string message) => message.Length <= Longest ? message : message[..Longest] + " ...";
}
