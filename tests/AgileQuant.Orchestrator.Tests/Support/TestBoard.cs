using System.Diagnostics;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>This machine as a board through a real sshd, with a database beside it. Skips the test where there is no sshd or no engine.</summary>
internal sealed class TestBoard : IAsyncDisposable
{
    private readonly string _folder;

    private TestBoard(string folder, LocalSshd sshd, TestStore store, string engine)
    {
        _folder = folder;
        Sshd = sshd;
        Store = store;
        Engine = engine;
    }

    public LocalSshd Sshd { get; }

    public TestStore Store { get; }

    /// <summary>Path of the engine binary.</summary>
    public string Engine { get; }

    /// <summary>Our folder on the board.</summary>
    public string Root => Path.Combine(Sshd.HomeFolder, ".agilequant");

    public static async Task<TestBoard> StartAsync()
    {
        var engine = RepoFiles.Engine(out var noEngine);
        Assert.SkipWhen(engine is null, noEngine ?? "");
        Assert.SkipUnless(LocalSshd.IsAvailable(out var noSshd), noSshd ?? "");
        var ct = TestContext.Current.CancellationToken;
        var folder = Path.Combine(Path.GetTempPath(), "bench-board-" + Guid.NewGuid().ToString("N")[..12]);
        var sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = folder }, ct);
        return new TestBoard(folder, sshd, await TestStore.CreateAsync(), engine!);
    }

    /// <summary>Kills this board's running engines as the kernel does when memory is short; returns how many there were.</summary>
    public int KillEngine()
    {
        var killed = 0;
        foreach (var process in Process.GetProcesses())
        {
            using (process)
            {
                var commandLine = $"/proc/{process.Id}/cmdline";
                if (!File.Exists(commandLine) || !ReadOrEmpty(commandLine).Contains($"start\0--root\0{Root}\0", StringComparison.Ordinal))
                    continue;
                process.Kill();
                killed++;
            }
        }

        return killed;
    }

    public async ValueTask DisposeAsync()
    {
        KillEngine();
        await Sshd.StopAsync(CancellationToken.None);
        await Sshd.DisposeAsync();
        await Store.DisposeAsync();
        if (Directory.Exists(_folder))
            Directory.Delete(_folder, true);
    }

    private static string ReadOrEmpty(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return ""; // The process has just ended.
        }
    }
}
