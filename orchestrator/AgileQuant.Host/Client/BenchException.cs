namespace AgileQuant.Host.Client;

/// <summary>The command cannot go on; the message says what to do. Printed without a stack trace, exit code 1.</summary>
public sealed class BenchException : Exception
{
    public BenchException() { }

    public BenchException(string message) : base(message) { }

    public BenchException(string message, Exception innerException) : base(message, innerException) { }
}
