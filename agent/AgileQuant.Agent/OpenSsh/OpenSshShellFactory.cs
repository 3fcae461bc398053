namespace AgileQuant.Agent.OpenSsh;

/// <summary>Connections by the system's OpenSSH client: one multiplexed connection a board.</summary>
public sealed class OpenSshShellFactory(OpenSshOptions? options = null) : IRemoteShellFactory
{
    public const string Name = "openssh";

    private static readonly TimeSpan FetchTimeout = TimeSpan.FromSeconds(20);

    private readonly OpenSshOptions _options = options ?? new OpenSshOptions();

    public string Transport => Name;

    public async Task<HostKeyOffer> FetchHostKeyAsync(DeviceAddress address, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        using var folder = new PrivateFolder();
        var pin = new HostKeyPin(folder.Path, fingerprint: null);
        // The pin accepts no key, so ssh ends before it authenticates.
        var settings = new ConnectionSettings(address, "none") { ConnectTimeout = FetchTimeout };
        using var process = SshProcess.Start(_options.SshProgram, SshArguments.Connect(_options, settings, pin, null, "true"));
        process.CloseStdin();
        var stderr = new BoundedCapture(RunOptions.DefaultMaxStderr);
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bound.CancelAfter(FetchTimeout);
        try
        {
            await stderr.DrainAsync(process.Stderr, bound.Token);
            await process.WaitForExitAsync(bound.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new HostUnreachableException(address, $"no answer within {FetchTimeout.TotalSeconds:0} s");
        }

        return pin.Offer(address) ?? throw new HostUnreachableException(address, SshFailure.LastLine(stderr.Text));
    }

    public Task<IRemoteShell> ConnectAsync(ConnectionSettings settings, CancellationToken cancellationToken = default) =>
        ConnectAsync(settings, Name, cancellationToken);

    /// <summary>The same for a transport that leaves this connection to us and says so by the name it reports.</summary>
    internal async Task<IRemoteShell> ConnectAsync(ConnectionSettings settings, string reportedAs, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(settings);
        if (settings.IdentityFile is { } identity && !File.Exists(identity))
            throw new AuthenticationFailedException(settings.Address, $"the identity file {identity} does not exist");
        var master = await SshMaster.ConnectAsync(_options, settings, cancellationToken);
        return new OpenSshShell(_options, settings, master) { Transport = reportedAs };
    }
}
