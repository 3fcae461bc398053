using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace AgileQuant.Infra.Boards;

/// <summary>
/// A board on this machine: a private sshd on 127.0.0.1 with its own throwaway host key, user key, configuration and home
/// folder. Never touches the system's ssh service. Works as root and as any user; several can run side by side.
/// </summary>
public sealed class LocalSshd : IAsyncDisposable
{
    private static readonly string[] Programs = ["sshd", "ssh-keygen"];

    /// <summary>Where distributions put it: it is no command for people.</summary>
    private static readonly string[] SftpServers =
        ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"];

    private const int PortAttempts = 5;
    private static readonly TimeSpan ToolTimeout = TimeSpan.FromSeconds(30);

    private readonly SshdFiles _files;
    private readonly bool _keepRunning;

    private LocalSshd(SshdFiles files, int port, string hostKeyFingerprint, bool keepRunning)
    {
        _files = files;
        _keepRunning = keepRunning;
        Port = port;
        HostKeyFingerprint = hostKeyFingerprint;
    }

    public string User { get; } = Environment.UserName;

    public string Host { get; } = "127.0.0.1";

    public int Port { get; }

    /// <summary><c>user@127.0.0.1:port</c>.</summary>
    public string Address => string.Create(CultureInfo.InvariantCulture, $"{User}@{Host}:{Port}");

    /// <summary>Private key that is let in.</summary>
    public string IdentityFile => _files.UserKey;

    /// <summary><c>SHA256:...</c></summary>
    public string HostKeyFingerprint { get; }

    /// <summary>What commands see as HOME.</summary>
    public string HomeFolder => _files.Home;

    public string LogFile => _files.Log;

    public bool IsRunning => RunningPid(_files) is not null;

    /// <summary>Whether the programs are installed; the reason says what to install.</summary>
    public static bool IsAvailable([NotNullWhen(false)] out string? reason)
    {
        string[] missing = [.. Programs.Where(p => ToolProcess.Find(p) is null)];
        reason = missing.Length == 0
            ? null
            : $"{string.Join(" and ", missing)} not found: install OpenSSH's server, for example apt-get install openssh-server " +
              "(its system service is not needed).";
        return reason is null;
    }

    /// <summary>Starts the board in its folder, or attaches to it when it runs already. Keys and, where it is free, the port
    /// are kept from the time before.</summary>
    /// <exception cref="InvalidOperationException">sshd is not installed or did not start; the message has its log.</exception>
    public static Task<LocalSshd> StartAsync(LocalSshdOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        return StartAsync(options, files => PlainWrapper(files.Home, options.Shell), cancellationToken);
    }

    /// <summary>The board running in a folder, or null. Disposing it leaves it running.</summary>
    public static async Task<LocalSshd?> AttachAsync(string folder, CancellationToken cancellationToken = default)
    {
        var files = new SshdFiles(Path.GetFullPath(folder));
        if (RunningPid(files) is null || files.ConfiguredPort() is not { } port)
            return null;
        return new LocalSshd(files, port, await FingerprintAsync(files.HostKey, cancellationToken), keepRunning: true);
    }

    /// <summary>Stops the server and its sessions. Detached programs on the board live on.</summary>
    public async Task StopAsync(CancellationToken cancellationToken = default)
    {
        if (RunningPid(_files) is not { } pid)
            return;
        var sessions = ProcessTable.Children(pid);
        await ProcessTable.SignalAsync([pid, .. sessions], "TERM", cancellationToken);
        for (var i = 0; i < 100 && RunningPid(_files) is not null; i++)
            await Task.Delay(50, cancellationToken);
        if (RunningPid(_files) is { } stubborn)
            await ProcessTable.SignalAsync([stubborn], "KILL", cancellationToken);
    }

    /// <summary>Cuts every open connection, as a failing network would; the server goes on.</summary>
    public async Task CutSessionsAsync(CancellationToken cancellationToken = default)
    {
        if (RunningPid(_files) is { } pid)
            await ProcessTable.SignalAsync(ProcessTable.Children(pid), "KILL", cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (!_keepRunning)
            await StopAsync();
    }

    internal static async Task<LocalSshd> StartAsync(
        LocalSshdOptions options, Func<SshdFiles, string> wrapper, CancellationToken cancellationToken)
    {
        if (!IsAvailable(out var reason))
            throw new InvalidOperationException($"A board on this machine needs sshd: {reason}");
        var files = new SshdFiles(Path.GetFullPath(options.Folder));
        if (await AttachAsync(files.Folder, cancellationToken) is { } running)
            return new LocalSshd(files, running.Port, running.HostKeyFingerprint, options.KeepRunning);

        await PrepareAsync(files, wrapper(files), cancellationToken);
        var fingerprint = await FingerprintAsync(files.HostKey, cancellationToken);
        for (var attempt = 1; ; attempt++)
        {
            var port = attempt == 1 && files.ConfiguredPort() is { } before && IsFree(before) ? before : FreePort();
            try
            {
                await LaunchAsync(files, port, options, cancellationToken);
                return new LocalSshd(files, port, fingerprint, options.KeepRunning);
            }
            catch (InvalidOperationException) when (attempt < PortAttempts)
            {
                // Most likely somebody took the port between our look and sshd's bind.
            }
        }
    }

    private static string PlainWrapper(string home, string shell) => $"""
        #!/bin/sh
        # sshd takes HOME from the user database; this board has its own.
        HOME={ToolProcess.Quote(home)}; export HOME
        SHELL={ToolProcess.Quote(shell)}; export SHELL
        cd "$HOME" || exit 1
        if [ -z "$SSH_ORIGINAL_COMMAND" ]; then exec "$SHELL"; fi
        command=$SSH_ORIGINAL_COMMAND; unset SSH_ORIGINAL_COMMAND
        exec "$SHELL" -c "$command"

        """;

    private static async Task PrepareAsync(SshdFiles files, string wrapper, CancellationToken cancellationToken)
    {
        PrivateFiles.CreateFolder(files.Folder);
        PrivateFiles.CreateFolder(files.Home);
        foreach (var key in new[] { files.HostKey, files.UserKey }.Where(k => !File.Exists(k)))
        {
            await ToolProcess.RunAsync(
                ToolProcess.Find("ssh-keygen")!, ["-q", "-t", "ed25519", "-N", "", "-C", "agilequant-local-board", "-f", key],
                ToolTimeout, cancellationToken);
        }

        File.Copy(files.UserKey + ".pub", files.AuthorizedKeys, overwrite: true);
        await PrivateFiles.WriteScriptAsync(files.Wrapper, wrapper, cancellationToken);
    }

    private static async Task LaunchAsync(SshdFiles files, int port, LocalSshdOptions options, CancellationToken cancellationToken)
    {
        var isRoot = Environment.IsPrivilegedProcess;
        // sshd as root insists on this folder for its privilege separation; the system's service makes the same one.
        if (isRoot)
            PrivateFiles.CreateFolder("/run/sshd", readable: true);
        var version = await SshdVersionAsync(cancellationToken);
        var sftp = options.Sftp ? SftpServers.FirstOrDefault(File.Exists) : null;
        var config = files.ConfigText(
            port, Environment.UserName, isRoot && IsRootLocked(), version >= new Version(9, 8), sftp, options.ExtraConfig);
        await File.WriteAllTextAsync(files.Config, config, cancellationToken);
        File.Delete(files.PidFile);
        File.Delete(files.Log);
        var timeout = options.StartTimeout;
        // sshd goes to the background by itself, in a session of its own; it outlives this process.
        await ToolProcess.RunAsync(ToolProcess.Find("sshd")!, ["-f", files.Config, "-E", files.Log], timeout, cancellationToken);
        for (var waited = TimeSpan.Zero; waited < timeout; waited += TimeSpan.FromMilliseconds(20))
        {
            if (RunningPid(files) is not null)
                return;
            await Task.Delay(20, cancellationToken);
        }

        var log = File.Exists(files.Log) ? (await File.ReadAllTextAsync(files.Log, cancellationToken)).Trim() : "no log";
        throw new InvalidOperationException($"sshd did not start on port {port}: {log}");
    }

    private static async Task<Version> SshdVersionAsync(CancellationToken cancellationToken)
    {
        // ssh-keygen has no version option; the client's is the same package family, and prints to stderr.
        var text = await ToolProcess.RunAsync("/bin/sh", ["-c", "ssh -V 2>&1"], ToolTimeout, cancellationToken);
        var number = new string([.. text.SkipWhile(c => !char.IsAsciiDigit(c)).TakeWhile(c => char.IsAsciiDigit(c) || c == '.')]);
        return Version.TryParse(number, out var version) ? version : new Version(0, 0);
    }

    // Without PAM, sshd refuses an account whose password field starts with '!', and many systems lock root that way.
    private static bool IsRootLocked() =>
        File.Exists("/etc/shadow")
        && File.ReadLines("/etc/shadow").Any(l => l.StartsWith("root:!", StringComparison.Ordinal))
        && File.Exists("/etc/pam.d/sshd");

    private static async Task<string> FingerprintAsync(string key, CancellationToken cancellationToken)
    {
        var line = await ToolProcess.RunAsync(
            ToolProcess.Find("ssh-keygen")!, ["-l", "-E", "sha256", "-f", key + ".pub"], ToolTimeout, cancellationToken);
        return line.Split(' ')[1];
    }

    private static int? RunningPid(SshdFiles files)
    {
        try
        {
            return int.TryParse(File.ReadAllText(files.PidFile).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                   && ProcessTable.CommandLine(pid).Contains(files.Config, StringComparison.Ordinal)
                ? pid
                : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static bool IsFree(int port)
    {
        try
        {
            using var listener = new TcpListener(IPAddress.Loopback, port);
            listener.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
