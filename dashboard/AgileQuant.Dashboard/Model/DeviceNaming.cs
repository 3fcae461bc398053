using System.Text.RegularExpressions;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Dashboard.Model;

/// <summary>Names of boards and what to ask them for their key.</summary>
internal static partial class DeviceNaming
{
    /// <summary>A name from an address: the host's first label where that makes one, else nothing.</summary>
    internal static string Suggest(string address)
    {
        var host = address[(address.IndexOf('@', StringComparison.Ordinal) + 1)..].Split(':')[0].Split('.')[0].ToLowerInvariant();
        return Pattern().IsMatch(host) ? host : "";
    }

    /// <summary>Throws <see cref="UserErrorException"/> for a name that cannot be used.</summary>
    internal static void Check(string name)
    {
        if (!Pattern().IsMatch(name))
        {
            throw new UserErrorException("A name is 1 to 63 small letters, digits and dashes, and starts with a letter, for instance pi4.");
        }
    }

    /// <summary>The command that prints a board's own fingerprint of the given key algorithm.</summary>
    internal static string FingerprintCommand(string algorithm)
    {
        var kind = algorithm.Contains("ed25519", StringComparison.Ordinal) ? "ed25519" : algorithm.Contains("ecdsa", StringComparison.Ordinal) ? "ecdsa" : "rsa";
        return $"ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub";
    }

    [GeneratedRegex("^[a-z][a-z0-9-]{0,62}\\z", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Pattern();
}
