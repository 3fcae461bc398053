using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Renci.SshNet;
using Renci.SshNet.Common;

namespace AgileQuant.Agent.SshNet;

/// <summary>
/// Pins one host key fingerprint. SSH.NET accepts any key unless its event says otherwise, so every client we make is made
/// with one of these; it is asked again at each renewal of the connection's keys.
/// </summary>
/// <param name="address">The board, as the user calls it.</param>
/// <param name="pinned">Accept only this; null: accept nothing, only note what is presented.</param>
internal sealed class HostKeyCheck(DeviceAddress address, string? pinned)
{
    /// <summary>The key the server presented, or null when it came to none.</summary>
    public HostKeyOffer? Offer { get; private set; }

    public void Attach(BaseClient client) => client.HostKeyReceived += Judge;

    /// <summary>The exception for a connection that did not come up.</summary>
    public RemoteShellException Explain(Exception error) => error switch
    {
        _ when pinned is not null && Offer is { } offer && offer.Fingerprint != pinned =>
            new HostKeyChangedException(address, pinned, offer.Fingerprint),
        SshAuthenticationException => new AuthenticationFailedException(address, error.Message.TrimEnd('.')),
        _ => new HostUnreachableException(address, error.Message.TrimEnd('.'), error),
    };

    private void Judge(object? sender, HostKeyEventArgs e)
    {
        e.CanTrust = false;
        var fingerprint = "SHA256:" + Convert.ToBase64String(SHA256.HashData(e.HostKey)).TrimEnd('=');
        var host = address.Port == DeviceAddress.DefaultPort ? address.Host : $"[{address.Host}]:{address.Port}";
        var algorithm = KeyType(e.HostKey);
        Offer = new HostKeyOffer(address, algorithm, fingerprint, $"{host} {algorithm} {Convert.ToBase64String(e.HostKey)}");
        e.CanTrust = fingerprint == pinned;
    }

    // The name in the key itself: for RSA the negotiated name is that of a signature.
    private static string KeyType(ReadOnlySpan<byte> key) =>
        key.Length > 4 && BinaryPrimitives.ReadInt32BigEndian(key) is var length and > 0 && length <= key.Length - 4
            ? Encoding.ASCII.GetString(key.Slice(4, length))
            : "unknown";
}
