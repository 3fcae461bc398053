namespace AgileQuant.Agent;

/// <summary>A board could not be reached or did not do what was asked. The message says what to do.</summary>
public class RemoteShellException : Exception
{
    public RemoteShellException()
    {
    }

    public RemoteShellException(string message)
        : base(message)
    {
    }

    public RemoteShellException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>True when trying again later, unchanged, may help.</summary>
    public virtual bool IsTransient => false;
}

/// <summary>No SSH server answered at the address.</summary>
public sealed class HostUnreachableException(DeviceAddress address, string detail, Exception? inner = null)
    : RemoteShellException($"{address} cannot be reached: {detail}. Check that it is switched on, on the network, and that its " +
                           "SSH server listens on that port.", inner)
{
    public DeviceAddress Address { get; } = address;

    public override bool IsTransient => true;
}

/// <summary>The board's SSH server refused the keys we have.</summary>
public sealed class AuthenticationFailedException(DeviceAddress address, string detail)
    : RemoteShellException($"{address} refused to log us in: {detail}. Install a public key with 'ssh-copy-id " +
                           $"{address.User}@{address.Host}', or name the right identity file.")
{
    public DeviceAddress Address { get; } = address;
}

/// <summary>The board presented another host key than the pinned one. Nothing was sent to it.</summary>
public sealed class HostKeyChangedException(DeviceAddress address, string expected, string actual)
    : RemoteShellException($"The host key of {address} is {actual}, but {expected} was pinned. Either the board was reinstalled " +
                           "or something else answers at its address. If you know why, confirm the new key for the device; " +
                           "otherwise do not use it.")
{
    public DeviceAddress Address { get; } = address;

    public string Expected { get; } = expected;

    public string Actual { get; } = actual;
}

/// <summary>The connection broke while it was in use. What ran on the board may still run.</summary>
public sealed class ConnectionLostException(DeviceAddress address, string detail, Exception? inner = null)
    : RemoteShellException($"The connection to {address} was lost: {detail}. It is safe to connect again and go on.", inner)
{
    public DeviceAddress Address { get; } = address;

    public override bool IsTransient => true;
}

/// <summary>A remote command or transfer did not end within its bound.</summary>
public sealed class RemoteTimeoutException(DeviceAddress address, string what, TimeSpan bound)
    : RemoteShellException($"{what} on {address} did not end within {bound.TotalSeconds:0.#} s. The board may be overloaded or the " +
                           "network slow; try again, with a longer limit if it is only slow.")
{
    public DeviceAddress Address { get; } = address;

    public TimeSpan Bound { get; } = bound;

    public override bool IsTransient => true;
}

/// <summary>A remote command that had to succeed did not.</summary>
public sealed class RemoteCommandException(DeviceAddress address, string what, int exitCode, string stderr)
    : RemoteShellException($"{what} failed on {address} (exit code {exitCode}): {Shorten(stderr)}")
{
    public DeviceAddress Address { get; } = address;

    public int ExitCode { get; } = exitCode;

    public string Stderr { get; } = stderr;

    private static string Shorten(string text)
    {
        text = text.Trim();
        return text.Length switch
        {
            0 => "it printed no reason",
            > 600 => text[..600] + "...",
            _ => text,
        };
    }
}
