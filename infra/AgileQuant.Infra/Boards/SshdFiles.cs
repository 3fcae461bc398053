using System.Globalization;
using System.Text;

namespace AgileQuant.Infra.Boards;

/// <summary>Files of a private sshd: what it reads and writes, as paths and text.</summary>
internal sealed record SshdFiles(string Folder)
{
    public string Config => Path.Combine(Folder, "sshd_config");

    public string HostKey => Path.Combine(Folder, "host_ed25519");

    public string UserKey => Path.Combine(Folder, "id_ed25519");

    public string AuthorizedKeys => Path.Combine(Folder, "authorized_keys");

    public string PidFile => Path.Combine(Folder, "sshd.pid");

    public string Log => Path.Combine(Folder, "sshd.log");

    public string Wrapper => Path.Combine(Folder, "command");

    public string Home => Path.Combine(Folder, "home");

    /// <summary>Port of the written configuration, or null when there is none.</summary>
    public int? ConfiguredPort() =>
        File.Exists(Config)
        && File.ReadLines(Config).FirstOrDefault(l => l.StartsWith("Port ", StringComparison.Ordinal)) is { } line
        && int.TryParse(line[5..], NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            ? port
            : null;

    /// <summary>Loopback only, one key, one user, one forced command; nothing of the system's configuration is read.</summary>
    /// <param name="sftpServer">Program of the SFTP subsystem; null: none. The forced command starts it too.</param>
    public string ConfigText(
        int port, string user, bool usePam, bool hasSourcePenalties, string? sftpServer, IReadOnlyList<string> extra)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"""
            # Written by AgileQuant.Bench for a board on this machine. Safe to delete when it is stopped.
            Port {port}
            ListenAddress 127.0.0.1
            HostKey "{HostKey}"
            PidFile "{PidFile}"
            AuthorizedKeysFile "{AuthorizedKeys}"
            ForceCommand {ToolProcess.Quote(Wrapper)}
            AllowUsers {user}
            PermitRootLogin prohibit-password
            AuthenticationMethods publickey
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            UsePAM {(usePam ? "yes" : "no")}
            StrictModes no
            PermitTTY no
            PermitUserEnvironment no
            PermitUserRC no
            AllowTcpForwarding no
            AllowAgentForwarding no
            AllowStreamLocalForwarding no
            X11Forwarding no
            PermitTunnel no
            PrintMotd no
            PrintLastLog no
            UseDNS no
            MaxStartups 100
            LogLevel INFO

            """);
        if (hasSourcePenalties)
            text.Append("PerSourcePenalties no\n");
        if (sftpServer is not null)
            text.Append(CultureInfo.InvariantCulture, $"Subsystem sftp {sftpServer}\n");
        foreach (var line in extra)
            text.Append(line).Append('\n');
        return text.ToString();
    }
}
