namespace AgileQuant.Agent.SshNet;

/// <summary>How the SSH.NET transport works.</summary>
public sealed record SshNetOptions
{
    /// <summary>Passphrases of encrypted identity files, one a line, for the owner's eyes only (mode 0600); null: none are known,
    /// and a login with an encrypted key is left to the OpenSSH client and the user's SSH agent.</summary>
    public string? PassphraseFile { get; init; }

    /// <summary>Remote commands at a time over one connection. sshd's MaxSessions is 10 unless changed, and we hold one.</summary>
    public int MaxSessions { get; init; } = 6;

    public TimeSpan TransferStall { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Uploads of at least this many bytes go by SFTP, over a connection of their own, where the board has an SFTP
    /// server; smaller ones are over before that connection would be up. <see cref="long.MaxValue"/>: never.</summary>
    public long SftpFromBytes { get; init; } = 1 << 20;

    /// <summary>SFTP writes sent before the first is answered, of about 32 KB each.</summary>
    public int SftpWritesInFlight { get; init; } = 48;
}
