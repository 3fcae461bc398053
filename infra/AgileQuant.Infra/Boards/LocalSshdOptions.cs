namespace AgileQuant.Infra.Boards;

/// <summary>How a local board is set up.</summary>
public sealed record LocalSshdOptions
{
    /// <summary>Holds keys, configuration, log, pid file and the board's home folder; created with mode 0700.</summary>
    public required string Folder { get; init; }

    /// <summary>Program each command is given to with <c>-c</c>, in place of the user's login shell.</summary>
    public string Shell { get; init; } = "/bin/sh";

    /// <summary>False: a board without an SFTP server, as Termux is without its package.</summary>
    public bool Sftp { get; init; } = true;

    /// <summary>Further lines for sshd's configuration.</summary>
    public IReadOnlyList<string> ExtraConfig { get; init; } = [];

    /// <summary>True: disposing leaves the server running, to be attached to or stopped by a later process.</summary>
    public bool KeepRunning { get; init; }

    public TimeSpan StartTimeout { get; init; } = TimeSpan.FromSeconds(15);
}
