using System.Globalization;

namespace AgileQuant.Agent;

/// <summary>Where a board is reached: <c>user@host[:port]</c>, an IPv6 address in brackets.</summary>
/// <param name="User">Login name on the board.</param>
/// <param name="Host">Host name, alias of the user's SSH configuration, IPv4 or bare IPv6 address.</param>
/// <param name="Port">TCP port, 1..65535; 22 leaves the choice to the user's SSH configuration.</param>
public sealed record DeviceAddress(string User, string Host, int Port)
{
    public const int DefaultPort = 22;

    /// <summary>Parses <c>user@host[:port]</c>.</summary>
    /// <exception cref="FormatException">The text is no such address; the message says what one looks like.</exception>
    public static DeviceAddress Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return TryParse(text, out var address, out var problem)
            ? address
            : throw new FormatException($"'{text}' is not a device address: {problem}. Write user@host or user@host:port, " +
                                        "an IPv6 address as user@[fe80::1]:22.");
    }

    /// <summary>Parses without throwing; <paramref name="problem"/> says in words what is wrong.</summary>
    public static bool TryParse(
        string text,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out DeviceAddress? address,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(false)] out string? problem)
    {
        ArgumentNullException.ThrowIfNull(text);
        address = null;
        var at = text.LastIndexOf('@');
        if (at <= 0)
        {
            problem = "the user name before '@' is missing";
            return false;
        }

        problem = Split(text[(at + 1)..], out var host, out var port)
                  ?? NameProblem("user name", text[..at])
                  ?? HostProblem(host);
        if (problem is not null)
            return false;

        address = new DeviceAddress(text[..at], host, port);
        return true;
    }

    public override string ToString()
    {
        var host = Host.Contains(':') ? $"[{Host}]" : Host;
        return Port == DefaultPort ? $"{User}@{host}" : $"{User}@{host}:{Port}";
    }

    private static string? Split(string text, out string host, out int port)
    {
        host = text;
        port = DefaultPort;
        string? portText = null;
        if (text.StartsWith('['))
        {
            var end = text.IndexOf(']');
            if (end < 0)
                return "the closing ']' is missing";
            host = text[1..end];
            var rest = text[(end + 1)..];
            if (rest.Length > 0 && rest[0] != ':')
                return "only :port may follow ']'";
            portText = rest.Length > 0 ? rest[1..] : null;
        }
        else if (text.IndexOf(':') is var colon and >= 0)
        {
            if (text.LastIndexOf(':') != colon)
                return "an IPv6 address must stand in brackets";
            host = text[..colon];
            portText = text[(colon + 1)..];
        }

        if (portText is null)
            return null;
        return int.TryParse(portText, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is > 0 and <= 65535
            ? null
            : "the port must be a number from 1 to 65535";
    }

    private static string? HostProblem(string host) =>
        host.Contains(':')
            ? System.Net.IPAddress.TryParse(host, out _) ? null : "the text in brackets is no IPv6 address"
            : NameProblem("host", host);

    // A leading '-' would be read as an option by ssh; blanks and shell characters are never part of a name.
    private static string? NameProblem(string what, string name)
    {
        if (name.Length is 0 or > 255)
            return $"the {what} is missing or too long";
        if (name[0] == '-')
            return $"the {what} may not start with '-'";
        return name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')
            ? null
            : $"the {what} may hold letters, digits, '-', '_' and '.' only";
    }
}
