using Renci.SshNet;
using Renci.SshNet.Common;

namespace AgileQuant.Agent.SshNet;

/// <summary>The key to log in with, or why only the OpenSSH client can: exactly one of the two is null.</summary>
internal sealed record SshNetLogin(PrivateKeyFile? Key, string? OnlyOpenSsh)
{
    private const int MaxPassphrases = 16;

    /// <summary>Reads the identity file; slow for encrypted keys, by their design.</summary>
    /// <exception cref="AuthenticationFailedException">The identity file is not there.</exception>
    /// <exception cref="RemoteShellException">The passphrase file cannot be used; the message says what to do.</exception>
    public static SshNetLogin Read(ConnectionSettings settings, string? passphraseFile)
    {
        if (settings.IdentityFile is not { } identity)
            return Only("no identity file is set: logins by an SSH agent go through it");
        if (!File.Exists(identity))
            throw new AuthenticationFailedException(settings.Address, $"the identity file {identity} does not exist");
        if (File.Exists(identity + "-cert.pub"))
            return Only($"{Path.GetFileName(identity)} has a certificate");
        try
        {
            return new SshNetLogin(new PrivateKeyFile(identity), null);
        }
        catch (SshPassPhraseNullOrEmptyException)
        {
            return Decrypt(identity, passphraseFile);
        }
        catch (Exception e) when (e is not UnauthorizedAccessException)
        {
            return Only($"SSH.NET cannot use {Path.GetFileName(identity)}: {e.Message.TrimEnd('.')}");
        }
    }

    private static SshNetLogin Decrypt(string identity, string? passphraseFile)
    {
        var name = Path.GetFileName(identity);
        if (passphraseFile is null)
            return Only($"{name} is encrypted and no passphrase file is set: an SSH agent may hold it");
        foreach (var passphrase in Passphrases(passphraseFile))
        {
            try
            {
                return new SshNetLogin(new PrivateKeyFile(identity, passphrase), null);
            }
            catch (Exception)
            {
                // Decrypted with a wrong passphrase the file is noise, which fails to parse in any way.
            }
        }

        return Only($"no line of {Path.GetFileName(passphraseFile)} opens {name}: an SSH agent may hold it");
    }

    private static string[] Passphrases(string path)
    {
        if (!File.Exists(path))
            throw new RemoteShellException($"The passphrase file {path} does not exist. Write one passphrase a line, and chmod 600 it.");
        const UnixFileMode Others =
            UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & Others) != UnixFileMode.None)
            throw new RemoteShellException($"Others can read or write the passphrase file {path}: chmod 600 it.");
        string[] lines = [.. File.ReadLines(path).Where(l => l.Length > 0).Take(MaxPassphrases + 1)];
        return lines.Length <= MaxPassphrases
            ? lines
            : throw new RemoteShellException($"The passphrase file {path} has more than {MaxPassphrases} lines.");
    }

    private static SshNetLogin Only(string reason) => new(null, reason);
}
