using AgileQuant.Agent.OpenSsh;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests.OpenSsh;

/// <summary>The user's ssh_config decides how a board is reached, never which host key is trusted.</summary>
public sealed class UserConfigurationTests(LocalBoard board) : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("aqt-conf-");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Aliases_identities_and_proxies_are_honoured()
    {
        LocalBoard.SkipWithoutSshd();
        var factory = Factory($"""
            Host alias
                HostName 127.0.0.1
                Port {board.Sshd.Port}
                IdentityFile {board.Sshd.IdentityFile}
                IdentitiesOnly yes
                HostKeyAlias something-else
                RemoteCommand echo taken over
                RequestTTY force
                LocalForward 127.0.0.1:1 127.0.0.1:2
                ControlMaster auto
                ControlPath {_folder.FullName}/users-own
                ControlPersist 60
            """);
        var address = DeviceAddress.Parse($"{board.Sshd.User}@alias");
        var offer = await factory.FetchHostKeyAsync(address, Cancellation);
        offer.Fingerprint.ShouldBe(board.Sshd.HostKeyFingerprint);
        await using var shell = await factory.ConnectAsync(new ConnectionSettings(address, offer.Fingerprint), Cancellation);
        (await shell.RunAsync(["echo", "ours"], null, Cancellation)).Stdout.ShouldBe("ours\n");
        File.Exists(Path.Combine(_folder.FullName, "users-own")).ShouldBeFalse();
    }

    [Fact]
    public async Task Nothing_in_it_makes_a_wrong_host_key_acceptable()
    {
        LocalBoard.SkipWithoutSshd();
        var known = Path.Combine(_folder.FullName, "known_hosts");
        var offer = await LocalBoard.OpenSsh().FetchHostKeyAsync(board.Address, Cancellation);
        await File.WriteAllTextAsync(known, offer.KnownHostsLine + "\n", Cancellation);
        var factory = Factory($"""
            Host *
                StrictHostKeyChecking no
                UserKnownHostsFile {known}
                GlobalKnownHostsFile {known}
                NoHostAuthenticationForLocalhost yes
                VerifyHostKeyDNS yes
                UpdateHostKeys yes
                CheckHostIP no
            """);
        var settings = board.Settings with { HostKeyFingerprint = "SHA256:" + new string('B', 43) };
        await Should.ThrowAsync<HostKeyChangedException>(factory.ConnectAsync(settings, Cancellation));
        (await File.ReadAllTextAsync(known, Cancellation)).ShouldBe(offer.KnownHostsLine + "\n");
    }

    [Fact]
    public async Task A_fingerprint_that_is_none_is_refused_before_anything_runs()
    {
        LocalBoard.SkipWithoutSshd();
        var settings = board.Settings with { HostKeyFingerprint = "SHA256:'; touch /tmp/x; '" };
        await Should.ThrowAsync<ArgumentException>(LocalBoard.OpenSsh().ConnectAsync(settings, Cancellation));
    }

    [Fact]
    public async Task A_missing_ssh_client_says_what_to_install()
    {
        LocalBoard.SkipWithoutSshd();
        var factory = new OpenSshShellFactory(new OpenSshOptions { SshProgram = "/no/such/ssh" });
        var error = await Should.ThrowAsync<RemoteShellException>(factory.ConnectAsync(board.Settings, Cancellation));
        error.Message.ShouldContain("openssh-client");
    }

    public void Dispose() => _folder.Delete(recursive: true);

    private OpenSshShellFactory Factory(string configuration)
    {
        var path = Path.Combine(_folder.FullName, "config");
        File.WriteAllText(path, configuration + "\n");
        return new OpenSshShellFactory(new OpenSshOptions { ConfigFile = path });
    }
}
