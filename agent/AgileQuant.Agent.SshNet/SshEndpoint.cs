using System.Globalization;
using AgileQuant.Agent.OpenSsh;

namespace AgileQuant.Agent.SshNet;

/// <summary>Where a board's address leads by the user's ssh_config.</summary>
/// <param name="Host">Name or address to connect to.</param>
/// <param name="OnlyOpenSsh">Why only the OpenSSH client can go there; null: SSH.NET can.</param>
internal sealed record SshEndpoint(string Host, int Port, string? OnlyOpenSsh)
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(5);

    /// <summary>Asks <c>ssh -G</c>, which connects nowhere; without an ssh client there is no configuration to follow.</summary>
    public static async Task<SshEndpoint> FindAsync(DeviceAddress address, OpenSshOptions options, CancellationToken cancellationToken)
    {
        List<string> arguments = ["-G", "-l", address.User];
        if (options.ConfigFile is { } config)
            arguments.AddRange(["-F", config]);
        if (address.Port != DeviceAddress.DefaultPort)
            arguments.AddRange(["-p", address.Port.ToString(CultureInfo.InvariantCulture)]);
        arguments.AddRange(["--", address.Host]);
        SshProcess process;
        try
        {
            process = SshProcess.Start(options.SshProgram, arguments);
        }
        catch (RemoteShellException)
        {
            return new SshEndpoint(address.Host, address.Port, null);
        }

        using (process)
        {
            return Parse(address, await ReadAsync(process, address, cancellationToken));
        }
    }

    /// <summary>What the lines of <c>ssh -G</c> say.</summary>
    internal static SshEndpoint Parse(DeviceAddress address, string text)
    {
        var (host, port, problem) = (address.Host, address.Port, (string?)null);
        foreach (var line in text.Split('\n'))
        {
            var blank = line.IndexOf(' ');
            var (key, value) = blank < 0 ? (line, "") : (line[..blank], line[(blank + 1)..].Trim());
            if (key == "hostname" && value.Length > 0)
                host = value;
            else if (key == "port" && int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                port = number;
            else if (key is "proxyjump" or "proxycommand" && value is not ("" or "none"))
                problem ??= $"ssh_config has a {key} for this host";
            else if (key == "certificatefile" && value is not ("" or "none"))
                problem ??= "ssh_config names a certificate for this host";
        }

        return new SshEndpoint(host, port, problem);
    }

    private static async Task<string> ReadAsync(SshProcess process, DeviceAddress address, CancellationToken cancellationToken)
    {
        process.CloseStdin();
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bound.CancelAfter(Bound);
        var (text, errors) = (new BoundedCapture(1 << 18), new BoundedCapture(RunOptions.DefaultMaxStderr));
        try
        {
            await Task.WhenAll(text.DrainAsync(process.Stdout, bound.Token), errors.DrainAsync(process.Stderr, bound.Token));
            await process.WaitForExitAsync(bound.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new RemoteTimeoutException(address, "Reading the ssh configuration for it ('ssh -G')", Bound);
        }

        return process.ExitCode == 0
            ? text.Text
            : throw new RemoteShellException($"The ssh configuration for {address} cannot be read: {SshFailure.LastLine(errors.Text)}.");
    }
}
