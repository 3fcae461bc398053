using Renci.SshNet;

namespace AgileQuant.Agent.SshNet;

/// <summary>Makes SSH.NET's clients with our algorithms, our host key check and our bounds, and connects them.</summary>
internal static class SshNetClients
{
    /// <summary>The OpenSSH client's order, so that a board shows both transports the same one of its keys; no certificates.</summary>
    private static readonly string[] HostKeys =
        ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256"];

    /// <summary>GCM first: the platform's own code does it in one pass. What OpenSSH has retired is left out.</summary>
    private static readonly string[] Ciphers =
    [
        "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com",
    ];

    /// <param name="timeout">Bound of each of SSH.NET's own waits.</param>
    public static ConnectionInfo Info(SshEndpoint endpoint, string user, TimeSpan timeout, AuthenticationMethod login)
    {
        var info = new ConnectionInfo(endpoint.Host, endpoint.Port, user, login) { Timeout = timeout, RetryAttempts = 2 };
        Keep(info.HostKeyAlgorithms, HostKeys);
        Keep(info.Encryptions, Ciphers);
        foreach (var retired in info.HmacAlgorithms.Keys.Where(k => k.StartsWith("hmac-sha1", StringComparison.Ordinal)).ToArray())
            info.HmacAlgorithms.Remove(retired);
        return info;
    }

    /// <summary>Connects on a thread of its own. On failure the client is disposed, at the latest when its own waits end.</summary>
    /// <exception cref="RemoteShellException">As <see cref="IRemoteShellFactory.ConnectAsync"/> says.</exception>
    public static async Task ConnectAsync(
        BaseClient client, HostKeyCheck check, DeviceAddress address, TimeSpan timeout, CancellationToken cancellationToken)
    {
        check.Attach(client);
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bound.CancelAfter(timeout);
        var connecting = OwnThread.RunAsync(() =>
        {
            client.Connect();
            return true;
        });
        try
        {
            await connecting.WaitAsync(bound.Token);
        }
        catch (Exception e)
        {
            _ = connecting.ContinueWith(
                t =>
                {
                    _ = t.Exception;
                    OwnThread.Forget(client.Dispose);
                },
                TaskScheduler.Default);
            throw e switch
            {
                OperationCanceledException when cancellationToken.IsCancellationRequested => e,
                OperationCanceledException => new HostUnreachableException(address, $"no answer within {timeout.TotalSeconds:0.#} s"),
                _ => check.Explain(e),
            };
        }
    }

    private static void Keep<T>(IDictionary<string, T> algorithms, string[] names)
    {
        var known = new Dictionary<string, T>(algorithms);
        algorithms.Clear();
        foreach (var name in names)
        {
            if (known.TryGetValue(name, out var algorithm))
                algorithms.Add(name, algorithm);
        }
    }
}
