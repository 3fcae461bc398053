using AgileQuant.Agent.OpenSsh;
using Renci.SshNet;

namespace AgileQuant.Agent.SshNet;

/// <summary>
/// Connections by SSH.NET, in this process. What it cannot do (logins by an SSH agent or a certificate, jump hosts) is left
/// to the OpenSSH client, connection by connection; <see cref="IRemoteShell.Transport"/> then says so and why.
/// </summary>
public sealed class SshNetShellFactory(SshNetOptions? options = null, OpenSshOptions? openSsh = null) : IRemoteShellFactory
{
    public const string Name = "ssh.net";

    private static readonly TimeSpan FetchTimeout = TimeSpan.FromSeconds(20);

    private readonly SshNetOptions _options = options ?? new SshNetOptions();
    private readonly OpenSshOptions _openSshOptions = openSsh ?? new OpenSshOptions();
    private readonly OpenSshShellFactory _openSsh = new(openSsh);

    public string Transport => Name;

    public async Task<HostKeyOffer> FetchHostKeyAsync(DeviceAddress address, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        var endpoint = await SshEndpoint.FindAsync(address, _openSshOptions, cancellationToken);
        if (endpoint.OnlyOpenSsh is not null)
            return await _openSsh.FetchHostKeyAsync(address, cancellationToken);
        var check = new HostKeyCheck(address, pinned: null);
        using var login = new NoneAuthenticationMethod(address.User);
        var client = new SshClient(SshNetClients.Info(endpoint, address.User, FetchTimeout, login));
        try
        {
            // The check accepts no key, so the connection ends before it authenticates.
            await SshNetClients.ConnectAsync(client, check, address, FetchTimeout, cancellationToken);
        }
        catch (RemoteShellException) when (check.Offer is not null)
        {
            return check.Offer;
        }

        OwnThread.Forget(client.Dispose);
        throw new InvalidOperationException("A connection came up although no host key was accepted.");
    }

    public async Task<IRemoteShell> ConnectAsync(ConnectionSettings settings, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(settings);
        if (!HostKeyPin.IsFingerprint(settings.HostKeyFingerprint))
        {
            throw new ArgumentException(
                $"'{settings.HostKeyFingerprint}' is no host key fingerprint: it looks like SHA256: and 43 base64 characters.", nameof(settings));
        }

        var login = await OwnThread.RunAsync(() => SshNetLogin.Read(settings, _options.PassphraseFile)).WaitAsync(cancellationToken);
        var endpoint = await SshEndpoint.FindAsync(settings.Address, _openSshOptions, cancellationToken);
        if ((login.OnlyOpenSsh ?? endpoint.OnlyOpenSsh) is { } reason)
            return await _openSsh.ConnectAsync(settings, $"{OpenSshShellFactory.Name} ({reason})", cancellationToken);
        var key = login.Key!;
        var connection = await SshNetConnection.ConnectAsync(settings, endpoint, key, _options.TransferStall, cancellationToken);
        return new SshNetShell(_options, settings, endpoint, key, connection);
    }
}
