using System.Diagnostics;
using AgileQuant.Agent.Tests.Support;
using AgileQuant.Infra.Boards;

namespace AgileQuant.Agent.Tests.SshNet;

/// <summary>Which logins go by SSH.NET, which are left to the OpenSSH client, and that a connection says so.</summary>
public sealed class SshNetLoginTests : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-login-");
    private LocalSshd? _sshd;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private LocalSshd Sshd => _sshd ?? throw new InvalidOperationException("The board is not started.");

    private ConnectionSettings Settings => new(DeviceAddress.Parse(Sshd.Address), Sshd.HostKeyFingerprint, Sshd.IdentityFile);

    public async ValueTask InitializeAsync()
    {
        LocalBoard.SkipWithoutSshd();
        _sshd = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = In("board") }, Cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        if (_sshd is not null)
            await _sshd.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    [Theory]
    [InlineData("-t", "ed25519")]
    [InlineData("-t", "ecdsa", "-b", "384")]
    [InlineData("-t", "rsa", "-b", "2048")]
    [InlineData("-t", "rsa", "-b", "2048", "-m", "PEM")]
    public async Task Keys_from_files_plain_and_encrypted(params string[] type)
    {
        var plain = await NewKeyAsync("plain", "", type);
        (await TransportAsync(TestSshNet.Factory(), Settings with { IdentityFile = plain })).ShouldBe("ssh.net");
        var encrypted = await NewKeyAsync("encrypted", "correct horse", type);
        var factory = TestSshNet.Factory(Passphrases("wrong one", "correct horse"));
        (await TransportAsync(factory, Settings with { IdentityFile = encrypted })).ShouldBe("ssh.net");
    }

    [Fact]
    public async Task An_encrypted_key_without_its_passphrase_is_left_to_openssh_and_its_agent()
    {
        var settings = Settings with { IdentityFile = await NewKeyAsync("encrypted", "secret", "-t", "ed25519") };
        // No agent holds it here, so OpenSSH is refused; what counts is who was asked.
        var refused = await Should.ThrowAsync<AuthenticationFailedException>(TestSshNet.Factory().ConnectAsync(settings, Cancellation));
        refused.Message.ShouldContain("Permission denied");
        await Should.ThrowAsync<AuthenticationFailedException>(TestSshNet.Factory(Passphrases("wrong")).ConnectAsync(settings, Cancellation));
    }

    [Fact]
    public async Task A_passphrase_file_others_can_read_is_refused()
    {
        var settings = Settings with { IdentityFile = await NewKeyAsync("encrypted", "secret", "-t", "ed25519") };
        var file = Passphrases("secret");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
        var error = await Should.ThrowAsync<RemoteShellException>(TestSshNet.Factory(file).ConnectAsync(settings, Cancellation));
        error.Message.ShouldContain("chmod 600");
    }

    [Fact]
    public async Task A_login_without_an_identity_file_goes_by_openssh_and_says_so()
    {
        var factory = TestSshNet.Factory(configFile: Config($"IdentityFile {Sshd.IdentityFile}\n    IdentitiesOnly yes"));
        var transport = await TransportAsync(factory, Settings with { IdentityFile = null });
        transport.ShouldBe("openssh (no identity file is set: logins by an SSH agent go through it)");
    }

    [Fact]
    public async Task A_key_with_a_certificate_goes_by_openssh_and_says_so()
    {
        var key = await NewKeyAsync("certified", "", "-t", "ed25519");
        await KeygenAsync("-q", "-s", Sshd.IdentityFile, "-I", "test", "-n", Sshd.User, key + ".pub");
        (await TransportAsync(TestSshNet.Factory(), Settings with { IdentityFile = key })).ShouldBe("openssh (certified has a certificate)");
    }

    [Fact]
    public async Task Aliases_are_followed_and_proxies_left_to_openssh()
    {
        var alias = Settings with { Address = DeviceAddress.Parse($"{Sshd.User}@alias") };
        var direct = TestSshNet.Factory(configFile: Config($"HostName 127.0.0.1\n    Port {Sshd.Port}"));
        (await TransportAsync(direct, alias)).ShouldBe("ssh.net");
        (await direct.FetchHostKeyAsync(alias.Address, Cancellation)).Fingerprint.ShouldBe(Sshd.HostKeyFingerprint);
        var proxied = TestSshNet.Factory(configFile: Config(
            $"HostName 127.0.0.1\n    Port {Sshd.Port}\n    ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'"));
        (await TransportAsync(proxied, alias)).ShouldBe("openssh (ssh_config has a proxycommand for this host)");
    }

    [Fact]
    public async Task A_large_upload_has_an_sftp_connection_whose_host_key_is_checked_too()
    {
        await using var other = await LocalSshd.StartAsync(new LocalSshdOptions { Folder = In("other") }, Cancellation);
        File.Copy(Sshd.IdentityFile + ".pub", Path.Combine(In("other"), "authorized_keys"), overwrite: true);
        await using var relay = new TcpRelay(Sshd.Port);
        var settings = Settings with { Address = DeviceAddress.Parse($"{Sshd.User}@127.0.0.1:{relay.Port}") };
        var local = TestFiles.Random(In("local"), 3_000_000, seed: 1);
        await using var shell = await TestSshNet.Factory().ConnectAsync(settings, Cancellation);
        await shell.UploadAsync(local, Path.Combine(Sshd.HomeFolder, "remote"), 0, null, Cancellation);
        TestFiles.Hash(Path.Combine(Sshd.HomeFolder, "remote")).ShouldBe(TestFiles.Hash(local));
        (await File.ReadAllLinesAsync(Sshd.LogFile, Cancellation)).Count(l => l.Contains("Accepted publickey")).ShouldBe(2);

        relay.Redirect(other.Port);
        var changed = await Should.ThrowAsync<HostKeyChangedException>(
            shell.UploadAsync(local, Path.Combine(other.HomeFolder, "remote"), 0, null, Cancellation));
        changed.Actual.ShouldBe(other.HostKeyFingerprint);
        File.Exists(Path.Combine(other.HomeFolder, "remote")).ShouldBeFalse();
        shell.IsConnected.ShouldBeFalse();
    }

    [Fact]
    public async Task A_board_with_several_host_keys_shows_both_transports_the_same_one()
    {
        await KeygenAsync("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", In("host_rsa"));
        await KeygenAsync("-q", "-t", "ecdsa", "-N", "", "-f", In("host_ecdsa"));
        await using var many = await LocalSshd.StartAsync(
            new LocalSshdOptions { Folder = In("many"), ExtraConfig = [$"HostKey {In("host_rsa")}", $"HostKey {In("host_ecdsa")}"] }, Cancellation);
        var address = DeviceAddress.Parse(many.Address);
        var offer = await TestSshNet.Factory().FetchHostKeyAsync(address, Cancellation);
        offer.ShouldBe(await LocalBoard.OpenSsh().FetchHostKeyAsync(address, Cancellation));
    }

    private static async Task<string> TransportAsync(IRemoteShellFactory factory, ConnectionSettings settings)
    {
        await using var shell = await factory.ConnectAsync(settings, Cancellation);
        (await shell.RunAsync(["echo", "in"], null, Cancellation)).Stdout.ShouldBe("in\n");
        return shell.Transport;
    }

    private static async Task KeygenAsync(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("ssh-keygen", arguments) { RedirectStandardError = true, UseShellExecute = false })!;
        await process.WaitForExitAsync(Cancellation);
        process.ExitCode.ShouldBe(0);
    }

    /// <summary>A key that the board lets in.</summary>
    private async Task<string> NewKeyAsync(string name, string passphrase, params string[] type)
    {
        var key = In(name);
        await KeygenAsync(["-q", .. type, "-N", passphrase, "-f", key]);
        await File.AppendAllTextAsync(Path.Combine(In("board"), "authorized_keys"), await File.ReadAllTextAsync(key + ".pub", Cancellation), Cancellation);
        return key;
    }

    private string Passphrases(params string[] lines)
    {
        var file = In($"passphrases-{lines.Length}");
        File.WriteAllLines(file, lines);
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return file;
    }

    private string Config(string lines)
    {
        var file = In($"config-{Guid.NewGuid():N}");
        File.WriteAllText(file, $"Host *\n    {lines}\n");
        return file;
    }

    private string In(string name) => Path.Combine(_folder.FullName, name);
}
