namespace AgileQuant.Agent.OpenSsh;

/// <summary>Says in types and words why the ssh client ended.</summary>
internal static class SshFailure
{
    private static readonly string[] AuthenticationMarks =
        ["Permission denied", "Too many authentication failures", "No supported authentication methods", "no mutual signature"];

    /// <summary>The connection did not come up. An exit code other than ssh's own is the remote shell's, after the login.</summary>
    public static RemoteShellException Classify(ConnectionSettings settings, HostKeyOffer? offer, int? exitCode, string stderr)
    {
        if (offer is not null && offer.Fingerprint != settings.HostKeyFingerprint)
            return new HostKeyChangedException(settings.Address, settings.HostKeyFingerprint, offer.Fingerprint);
        if (stderr.Contains("Bad configuration option", StringComparison.Ordinal))
            return new RemoteShellException($"The ssh client refuses our options ({LastLine(stderr)}): OpenSSH 8.7 or newer is needed.");
        if (exitCode is not (null or SshSession.OwnExitCode) && offer is not null)
            return LoginShell(settings.Address, exitCode.Value, LastLine(stderr));

        if (AuthenticationMarks.Any(m => stderr.Contains(m, StringComparison.OrdinalIgnoreCase)))
            return new AuthenticationFailedException(settings.Address, LastLine(stderr));
        return new HostUnreachableException(settings.Address, LastLine(stderr));
    }

    public static RemoteShellException LoginShell(DeviceAddress address, int exitCode, string reason) =>
        new($"{address} let us in but its login shell did not run a command (exit code {exitCode}: {reason}). " +
            "Give the user a normal shell that finds 'sh'.");

    public static string LastLine(string stderr)
    {
        var lines = stderr.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.Length == 0 ? "ssh gave no reason" : lines[^1].TrimEnd('.');
    }
}
