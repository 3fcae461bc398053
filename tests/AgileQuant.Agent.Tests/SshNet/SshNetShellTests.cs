using AgileQuant.Agent.OpenSsh;
using AgileQuant.Agent.SshNet;
using AgileQuant.Agent.Tests.Board;
using AgileQuant.Agent.Tests.Contract;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.SshNet;

internal static class TestSshNet
{
    public static IRemoteShellFactory Factory(string? passphraseFile = null, string configFile = "none") =>
        new SshNetShellFactory(new SshNetOptions { PassphraseFile = passphraseFile }, new OpenSshOptions { ConfigFile = configFile });
}

public sealed class SshNetShellTests(LocalBoard board) : RemoteShellContract(board)
{
    protected override IRemoteShellFactory Factory => TestSshNet.Factory();
}

public sealed class SshNetTransferTests(LocalBoard board) : RemoteTransferContract(board)
{
    protected override IRemoteShellFactory Factory => TestSshNet.Factory();
}

public sealed class SshNetBoardStoreTests(LocalBoard board) : BoardStoreContract(board)
{
    protected override IRemoteShellFactory Factory => TestSshNet.Factory();
}

public sealed class SshNetBoardEngineTests(LocalBoard board) : LocalBoardEngineTests(board)
{
    protected override IRemoteShellFactory Factory => TestSshNet.Factory();
}

/// <summary>Over the emulated board, which has no SFTP server.</summary>
public sealed class SshNetEmulatedBoardEngineTests : EmulatedBoardEngineTests
{
    protected override IRemoteShellFactory Factory => TestSshNet.Factory();
}
