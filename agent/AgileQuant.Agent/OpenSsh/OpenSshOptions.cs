namespace AgileQuant.Agent.OpenSsh;

/// <summary>Which ssh client runs, and with which configuration.</summary>
public sealed record OpenSshOptions
{
    /// <summary>OpenSSH 8.5 or newer (it introduced KnownHostsCommand).</summary>
    public string SshProgram { get; init; } = "ssh";

    /// <summary>ssh_config to read for connection options (ProxyJump, HostName, IdentityFile); null: the user's and the
    /// system's, <c>none</c>: no file. Never decides about host keys.</summary>
    public string? ConfigFile { get; init; }

    /// <summary>Remote commands at a time over one connection. sshd's MaxSessions is 10 unless changed, and we hold one.</summary>
    public int MaxSessions { get; init; } = 6;

    public TimeSpan TransferStall { get; init; } = TimeSpan.FromSeconds(60);
}
