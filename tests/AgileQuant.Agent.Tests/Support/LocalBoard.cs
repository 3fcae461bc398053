using AgileQuant.Agent.OpenSsh;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.Support;

/// <summary>One sshd for all tests of this assembly; each test works in its own folder of the board's home.</summary>
public sealed class LocalBoard : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-");
    private LocalSshd? _sshd;

    public LocalSshd Sshd => _sshd ?? throw new InvalidOperationException("The board is not started.");

    public DeviceAddress Address => DeviceAddress.Parse(Sshd.Address);

    public ConnectionSettings Settings => new(Address, Sshd.HostKeyFingerprint, Sshd.IdentityFile);

    public ConnectionSettings Through(TcpRelay relay) => Settings with { Address = Address with { Port = relay.Port } };

    public static IRemoteShellFactory OpenSsh() => new OpenSshShellFactory(new OpenSshOptions { ConfigFile = "none" });

    /// <summary>Ends the test as skipped where no sshd is installed.</summary>
    public static void SkipWithoutSshd()
    {
        var available = LocalSshd.IsAvailable(out var reason);
        Assert.SkipUnless(available, reason ?? "");
    }

    public string NewFolder()
    {
        var path = Path.Combine(Sshd.HomeFolder, Guid.NewGuid().ToString("N")[..8]);
        Directory.CreateDirectory(path);
        return path;
    }

    public async ValueTask InitializeAsync()
    {
        if (LocalSshd.IsAvailable(out _))
            _sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = Path.Combine(_folder.FullName, "board") });
    }

    public async ValueTask DisposeAsync()
    {
        if (_sshd is not null)
            await _sshd.DisposeAsync();
        _folder.Delete(recursive: true);
    }
}
