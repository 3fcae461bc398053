using AgileQuant.Agent;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>A transport whose boards answer as a test says: for failures that a real sshd does not show on demand.</summary>
internal sealed class FakeBoards : IRemoteShellFactory
{
    /// <summary>Called for each connection; may throw.</summary>
    public Func<ConnectionSettings, IRemoteShell> Connect { get; set; } = s => throw new HostUnreachableException(s.Address, "nothing answers");

    public int Connections { get; private set; }

    public string Transport => "fake";

    public Task<HostKeyOffer> FetchHostKeyAsync(DeviceAddress address, CancellationToken cancellationToken = default) =>
        throw new HostUnreachableException(address, "nothing answers");

    public Task<IRemoteShell> ConnectAsync(ConnectionSettings settings, CancellationToken cancellationToken = default)
    {
        Connections++;
        return Task.FromResult(Connect(settings));
    }
}
