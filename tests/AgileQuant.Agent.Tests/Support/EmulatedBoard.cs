using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.Support;

public static class EmulatedBoard
{
    /// <summary>Starts one, or returns null where emulation is not available.</summary>
    public static async Task<EmulatedArmBoard?> StartAsync(DirectoryInfo folder) =>
        EmulatedArmBoard.IsAvailable(out _)
            ? await EmulatedArmBoard.StartAsync(new EmulatedArmBoardOptions
            {
                Folder = Path.Combine(folder.FullName, "board"),
                CacheFolder = Path.Combine(Path.GetTempPath(), $"aqt-arm-cache-{Environment.UserName}"),
            })
            : null;

    public static ConnectionSettings Settings(EmulatedArmBoard board) =>
        new(DeviceAddress.Parse(board.Sshd.Address), board.Sshd.HostKeyFingerprint, board.Sshd.IdentityFile);
}
