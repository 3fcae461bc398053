using AgileQuant.Agent.Tests.Contract;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.OpenSsh;

public sealed class OpenSshShellTests(LocalBoard board) : RemoteShellContract(board)
{
    protected override IRemoteShellFactory Factory => LocalBoard.OpenSsh();
}

public sealed class OpenSshTransferTests(LocalBoard board) : RemoteTransferContract(board)
{
    protected override IRemoteShellFactory Factory => LocalBoard.OpenSsh();
}

public sealed class OpenSshBoardStoreTests(LocalBoard board) : BoardStoreContract(board)
{
    protected override IRemoteShellFactory Factory => LocalBoard.OpenSsh();
}
