namespace AgileQuant.Agent;

/// <summary>All that is needed to reach one board again, the same way.</summary>
/// <param name="Address">Where it is.</param>
/// <param name="HostKeyFingerprint">The pinned host key, <c>SHA256:</c> and 43 base64 characters, as ssh-keygen prints it.</param>
/// <param name="IdentityFile">Private key to use, and no other; null: what the user's SSH agent and configuration offer.</param>
public sealed record ConnectionSettings(DeviceAddress Address, string HostKeyFingerprint, string? IdentityFile = null)
{
    /// <summary>Bound for connecting, key exchange, authentication and the remote shell's first answer.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>The connection is probed this often when idle, and given up after <see cref="KeepAliveMisses"/> unanswered probes.</summary>
    public TimeSpan KeepAliveInterval { get; init; } = TimeSpan.FromSeconds(10);

    public int KeepAliveMisses { get; init; } = 3;
}

/// <summary>The host key a board presents, for a person to confirm. Nothing has been trusted yet.</summary>
/// <param name="Address">Who presented it.</param>
/// <param name="Algorithm">For example <c>ssh-ed25519</c>.</param>
/// <param name="Fingerprint"><c>SHA256:...</c>, comparable with <c>ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub</c> on the board.</param>
/// <param name="KnownHostsLine">The key as a line of a known_hosts file.</param>
public sealed record HostKeyOffer(DeviceAddress Address, string Algorithm, string Fingerprint, string KnownHostsLine);
