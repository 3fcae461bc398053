using System.Globalization;

namespace AgileQuant.Agent.OpenSsh;

/// <summary>Command lines of the ssh client, as pure functions.</summary>
internal static class SshArguments
{
    /// <summary>
    /// The connection itself. The user's configuration is read, so ProxyJump and aliases work, but an option on the command
    /// line wins over any file: the host key policy, and everything that would disturb an unattended connection, is set here.
    /// </summary>
    public static List<string> Connect(
        OpenSshOptions options, ConnectionSettings settings, HostKeyPin pin, string? controlPath, string remoteCommand)
    {
        List<string> arguments = options.ConfigFile is { } config ? ["-F", config] : [];
        arguments.AddRange(Options(HostKeyPolicy(pin)));
        arguments.AddRange(Options(Unattended(settings)));
        arguments.AddRange(Options(controlPath is null
            ? ["ControlMaster=no", "ControlPath=none"]
            : ["ControlMaster=yes", "ControlPath=" + controlPath.Replace("%", "%%"), "ControlPersist=no"]));
        if (settings.IdentityFile is { } identity)
            arguments.AddRange(["-i", identity, "-o", "IdentitiesOnly=yes"]);
        arguments.AddRange(Destination(settings.Address));
        arguments.Add(remoteCommand);
        return arguments;
    }

    /// <summary>One command over the open connection. ProxyCommand=false: if the connection is gone, do not open another
    /// one behind our back.</summary>
    public static List<string> Session(DeviceAddress address, string controlPath, string remoteCommand) =>
    [
        "-F", "none", "-S", controlPath.Replace("%", "%%"), "-T",
        .. Options(["ControlMaster=no", "ProxyCommand=false", "BatchMode=yes", "EscapeChar=none", "LogLevel=ERROR"]),
        "-l", address.User, "--", address.Host, remoteCommand,
    ];

    private static string[] HostKeyPolicy(HostKeyPin pin) =>
    [
        "StrictHostKeyChecking=yes", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null",
        "KnownHostsCommand=" + pin.KnownHostsCommand, "FingerprintHash=sha256", "UpdateHostKeys=no", "VerifyHostKeyDNS=no",
        "CheckHostIP=no", "NoHostAuthenticationForLocalhost=no", "HostKeyAlgorithms=-*-cert-v01@openssh.com",
    ];

    private static string[] Unattended(ConnectionSettings settings) =>
    [
        "BatchMode=yes", "LogLevel=ERROR", "EscapeChar=none", "RequestTTY=no", "RemoteCommand=none", "SessionType=default",
        "StdinNull=no", "ForkAfterAuthentication=no", "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "Tunnel=no",
        "PermitLocalCommand=no", "TCPKeepAlive=yes",
        "ConnectTimeout=" + Seconds(settings.ConnectTimeout),
        "ServerAliveInterval=" + Seconds(settings.KeepAliveInterval),
        "ServerAliveCountMax=" + settings.KeepAliveMisses.ToString(CultureInfo.InvariantCulture),
    ];

    private static List<string> Destination(DeviceAddress address)
    {
        List<string> arguments = ["-T", "-l", address.User];
        if (address.Port != DeviceAddress.DefaultPort)
            arguments.AddRange(["-p", address.Port.ToString(CultureInfo.InvariantCulture)]);
        arguments.AddRange(["--", address.Host]);
        return arguments;
    }

    private static IEnumerable<string> Options(IEnumerable<string> settings) => settings.SelectMany(s => new[] { "-o", s });

    private static string Seconds(TimeSpan time) => Math.Max(1, (int)Math.Ceiling(time.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
}
