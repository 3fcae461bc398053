using AgileQuant.Agent.OpenSsh;
using AgileQuant.Agent.SshNet;
using AgileQuant.Agent.Tests.Contract;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.SshNet;

public sealed class SshNetShellTests(LocalBoard board) : RemoteShellContract(board)
{
    protected override IRemoteShellFactory Factory =>
        new SshNetShellFactory(new SshNetOptions(), new OpenSshOptions { ConfigFile = "none" });
}
