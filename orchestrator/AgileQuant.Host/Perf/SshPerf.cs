using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using AgileQuant.Agent;
using AgileQuant.Agent.OpenSsh;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Host.Perf;

/// <summary>Rates of one transport, in MiB/s, round by round.</summary>
/// <param name="RatioToScp">Median over the rounds of its rate by scp's in the same round; null without scp.</param>
internal sealed record SshPerfTransport(string Name, IReadOnlyList<double> Rates, double Median, double Lowest, double Highest, double? RatioToScp);

internal sealed record SshPerfReport(long Bytes, int Rounds, IReadOnlyList<SshPerfTransport> Transports);

/// <summary>Compares the transports that are built in with <c>scp</c>: the same file, the same sshd, taking turns.</summary>
internal static class SshPerf
{
    private const string Scp = "scp";
    private static readonly TimeSpan SendLimit = TimeSpan.FromMinutes(30);

    private sealed record Contender(string Name, Func<string, CancellationToken, Task> SendAsync);

    /// <exception cref="BenchException">sshd is not installed, there is no room, or something arrived damaged.</exception>
    public static async Task<SshPerfReport> RunAsync(long bytes, int rounds, Action<string> note, CancellationToken ct)
    {
        if (!LocalSshd.IsAvailable(out var reason))
            throw new BenchException(reason);
        var folder = Directory.CreateTempSubdirectory("aqb-perf-");
        try
        {
            if (new DriveInfo(folder.FullName).AvailableFreeSpace < 2 * bytes + (64 << 20))
                throw new BenchException($"{folder.Parent} has no room for two files of {bytes >> 20} MiB; set TMPDIR to a folder that has");
            await using var sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = Path.Combine(folder.FullName, "board") }, ct);
            var (file, hash) = await MakeFileAsync(Path.Combine(folder.FullName, "file"), bytes, ct);
            var contenders = Contenders(sshd, file, Path.Combine(folder.FullName, "known_hosts"));
            return await CompareAsync(sshd, contenders, (hash, bytes), rounds, note, ct);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static async Task<SshPerfReport> CompareAsync(
        LocalSshd sshd, List<Contender> contenders, (string Hash, long Bytes) file, int rounds, Action<string> note, CancellationToken ct)
    {
        var rates = contenders.ToDictionary(c => c.Name, _ => new List<double>());
        var remote = Path.Combine(sshd.HomeFolder, "received");
        for (var round = 0; round <= rounds; round++)
        {
            for (var turn = 0; turn < contenders.Count; turn++)
            {
                var contender = contenders[(round + turn) % contenders.Count]; // nobody is always first
                var clock = Stopwatch.StartNew();
                await contender.SendAsync(remote, ct);
                var rate = file.Bytes / 1048576.0 / clock.Elapsed.TotalSeconds;
                await VerifyAsync(contender, remote, file.Hash, ct);
                if (round > 0)
                    rates[contender.Name].Add(rate);
                note($"{(round == 0 ? "warm-up" : $"round {round}")}: {contender.Name} {rate:0.0} MiB/s");
            }
        }

        var scp = rates.GetValueOrDefault(Scp);
        return new SshPerfReport(file.Bytes, rounds, [.. contenders.Select(c => Summary(c.Name, rates[c.Name], scp))]);
    }

    private static SshPerfTransport Summary(string name, List<double> rates, List<double>? scp) => new(
        name, rates, Median(rates), rates.Min(), rates.Max(), scp is null ? null : Median(rates.Zip(scp, (own, other) => own / other)));

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static List<Contender> Contenders(LocalSshd sshd, string file, string knownHosts)
    {
        var settings = new ConnectionSettings(DeviceAddress.Parse(sshd.Address), sshd.HostKeyFingerprint, sshd.IdentityFile);
        List<Contender> contenders = [.. Transports.BuiltIn.Select(t => new Contender(t.Name, (remote, ct) => SendAsync(t, settings, file, remote, ct)))];
        contenders.Add(new Contender(Scp, (remote, ct) => ScpAsync(sshd, file, remote, knownHosts, ct)));
        return contenders;
    }

    private static async Task SendAsync(Transport transport, ConnectionSettings settings, string file, string remote, CancellationToken ct)
    {
        await using var shell = await transport.Make().ConnectAsync(settings, ct);
        await shell.UploadAsync(file, remote, cancellationToken: ct);
    }

    /// <summary>scp with the same key and a pinned host key, and nothing of the user's configuration.</summary>
    private static async Task ScpAsync(LocalSshd sshd, string file, string remote, string knownHosts, CancellationToken ct)
    {
        if (!File.Exists(knownHosts))
        {
            var offer = await new OpenSshShellFactory().FetchHostKeyAsync(DeviceAddress.Parse(sshd.Address), ct);
            await File.WriteAllTextAsync(knownHosts, offer.KnownHostsLine + "\n", ct);
        }

        string[] arguments =
        [
            "-q", "-B", "-F", "none", "-P", sshd.Port.ToString(CultureInfo.InvariantCulture), "-i", sshd.IdentityFile, "-o", "IdentitiesOnly=yes",
            "-o", "StrictHostKeyChecking=yes", "-o", $"UserKnownHostsFile={knownHosts}", "--", file, $"{sshd.User}@{sshd.Host}:{remote}",
        ];
        using var process = Process.Start(new ProcessStartInfo(Scp, arguments) { RedirectStandardError = true, UseShellExecute = false })
                            ?? throw new BenchException("scp does not start");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(SendLimit);
        try
        {
            var errors = await process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            if (process.ExitCode != 0)
                throw new BenchException($"scp failed with exit code {process.ExitCode}: {errors.Trim()}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    /// <summary>The board is this machine, so what arrived is hashed in place.</summary>
    private static async Task VerifyAsync(Contender contender, string remote, string hash, CancellationToken ct)
    {
        string arrived;
        await using (var file = File.OpenRead(remote))
            arrived = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, ct));
        File.Delete(remote);
        if (arrived != hash)
            throw new BenchException($"{contender.Name} delivered a file with SHA-256 {arrived} instead of {hash}");
    }

    /// <summary>Random bytes: no compression anywhere can shorten them.</summary>
    private static async Task<(string Path, string Hash)> MakeFileAsync(string path, long bytes, CancellationToken ct)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var file = File.Create(path);
        var random = new Random(1);
        var buffer = new byte[1 << 20];
        for (var left = bytes; left > 0; left -= buffer.Length)
        {
            random.NextBytes(buffer);
            var part = buffer.AsMemory(0, (int)Math.Min(left, buffer.Length));
            hash.AppendData(part.Span);
            await file.WriteAsync(part, ct);
        }

        return (path, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }
}
