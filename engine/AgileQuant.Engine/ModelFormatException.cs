namespace AgileQuant.Engine;

/// <summary>
/// A model, tokenizer or token file that cannot be used: truncated, corrupt, or of a kind this version does not support.
/// The message names the file and says what is wrong with it.
/// </summary>
public sealed class ModelFormatException : Exception
{
    public ModelFormatException()
    {
    }

    public ModelFormatException(string message)
        : base(message)
    {
    }

    public ModelFormatException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
