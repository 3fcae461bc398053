using AgileQuant.Agent.Tests.Contract;
using AgileQuant.Agent.Tests.Support;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.Board;

/// <summary>The engine on this machine.</summary>
public class LocalBoardEngineTests(LocalBoard board) : BoardEngineContract
{
    protected override string Target => "linux-x64";

    protected override (ConnectionSettings? Settings, string Reason) Connection =>
        LocalSshd.IsAvailable(out var reason) ? (board.Settings, "") : (null, reason);
}

/// <summary>The arm64 engine on an emulated Cortex-A72.</summary>
public class EmulatedBoardEngineTests : BoardEngineContract
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-arm-");
    private EmulatedArmBoard? _board;

    protected override string Target => "linux-arm64";

    protected override (ConnectionSettings? Settings, string Reason) Connection =>
        EmulatedArmBoard.IsAvailable(out var reason) ? (EmulatedBoard.Settings(_board!), "") : (null, reason);

    public override async ValueTask InitializeAsync() => _board = await EmulatedBoard.StartAsync(_folder);

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        if (_board is not null)
            await _board.DisposeAsync();
        _folder.Delete(recursive: true);
        GC.SuppressFinalize(this);
    }
}
