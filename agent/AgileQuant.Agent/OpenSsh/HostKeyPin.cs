namespace AgileQuant.Agent.OpenSsh;

/// <summary>
/// Pins one host key fingerprint. ssh runs the script written here as its KnownHostsCommand with the key the server
/// presents; it answers with a known_hosts line only when the fingerprint is the pinned one, and notes what it saw. So the
/// comparison is on the very key of this connection (no separate scan that could see another server), works through
/// ProxyJump, and a mismatch is known exactly instead of guessed from an error text.
/// </summary>
internal sealed class HostKeyPin
{
    private readonly string _offerPath;

    /// <param name="folder">A private folder.</param>
    /// <param name="fingerprint">Accept only this; null: accept nothing, only note what is presented.</param>
    public HostKeyPin(string folder, string? fingerprint)
    {
        if (fingerprint is not null && !IsFingerprint(fingerprint))
            throw new ArgumentException($"'{fingerprint}' is no host key fingerprint: it looks like SHA256: and 43 base64 characters.", nameof(fingerprint));
        var script = Path.Combine(folder, "pin.sh");
        _offerPath = Path.Combine(folder, "offer");
        File.WriteAllText(script, $$"""
            [ "$1" = ORDER ] && exit 0
            printf '%s %s %s\n' "$3" "$4" "$5" > {{PosixShell.Quote(_offerPath)}}
            [ "$5" = {{PosixShell.Quote(fingerprint ?? "none")}} ] && printf '%s %s %s\n' "$2" "$3" "$4"
            exit 0

            """);
        KnownHostsCommand = $"/bin/sh \"{script.Replace("%", "%%")}\" %I %H %t %K %f";
    }

    public string KnownHostsCommand { get; }

    public static bool IsFingerprint(string text) =>
        text.Length == 50 && text.StartsWith("SHA256:", StringComparison.Ordinal)
        && text.Skip(7).All(c => char.IsAsciiLetterOrDigit(c) || c is '+' or '/');

    /// <summary>The key the server presented, or null when it came to none.</summary>
    public HostKeyOffer? Offer(DeviceAddress address)
    {
        if (!File.Exists(_offerPath) || File.ReadAllText(_offerPath).Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries) is not
            [var algorithm, var key, var fingerprint] || !IsFingerprint(fingerprint))
            return null;
        var host = address.Port == DeviceAddress.DefaultPort ? address.Host : $"[{address.Host}]:{address.Port}";
        return new HostKeyOffer(address, algorithm, fingerprint, $"{host} {algorithm} {key}");
    }
}
