using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Orleans.Silo;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>TLS between silos, and what is refused without it.</summary>
public sealed class SiloTlsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("bench-silo-tls-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    private static SiloSettings Read(params (string Name, string Value)[] variables) =>
        SiloSettings.Read(n => variables.FirstOrDefault(v => v.Name == n).Value);

    /// <summary>An authority and a certificate of it, as PEM files.</summary>
    private (string Authority, string Certificate, string Fingerprint) MakeFiles(string name)
    {
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var authorityRequest = new CertificateRequest($"CN={name} authority", authorityKey, HashAlgorithmName.SHA256);
        authorityRequest.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var (from, until) = (DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var authority = authorityRequest.CreateSelfSigned(from, until);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        using var certificate = request.Create(authority, from, until, RandomNumberGenerator.GetBytes(8));
        var (authorityFile, certificateFile) = (Path.Combine(_folder, name + "-ca.pem"), Path.Combine(_folder, name + ".pem"));
        File.WriteAllText(authorityFile, authority.ExportCertificatePem());
        File.WriteAllText(certificateFile, certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem());
        return (authorityFile, certificateFile, certificate.GetCertHashString(HashAlgorithmName.SHA256));
    }

    [Fact]
    public async Task Silos_of_one_authority_work_together_and_a_stranger_does_not_get_in()
    {
        var (authority, certificate, _) = MakeFiles("cluster");
        var (_, foreign, _) = MakeFiles("stranger");
        var settings = Read(("BENCH_SILO_CERTIFICATE", certificate), ("BENCH_SILO_CA", authority));
        await using var store = await TestStore.CreateAsync();
        // The usual lease: calls between silos may take a third of it, also on a busy machine.
        await using var one = await TestSilo.StartAsync(store, await store.AddNodeAsync("one"), settings: settings);
        await using var two = await TestSilo.StartAsync(store, await store.AddNodeAsync("two"), settings: settings);
        await store.ExecuteAsync("update node set alive_until = case when name = 'two' then clock_timestamp() + interval '1 hour' else clock_timestamp() end");
        var device = await store.AddDeviceAsync("board", "offline");
        (await one.Grains.GetGrain<IDeviceGrain>(device).EnsureDrivenAsync()).ShouldBe(DriveAnswer.Driven);
        two.Leases.Find(device).ShouldNotBeNull("the call went from one silo to the other");

        var lease = TimeSpan.FromSeconds(2); // they try to join for four of it
        // It believes the cluster, but the cluster does not believe it.
        var stranger = Read(("BENCH_SILO_CERTIFICATE", foreign), ("BENCH_SILO_CA", authority));
        await Should.ThrowAsync<Exception>(async () => await TestSilo.StartAsync(store, await store.AddNodeAsync("stranger"), lease, stranger));
        // Nor does one get in that speaks no TLS.
        await Should.ThrowAsync<Exception>(async () => await TestSilo.StartAsync(store, await store.AddNodeAsync("plain"), lease));
    }

    [Fact]
    public void Certificates_are_believed_by_authority_or_fingerprint_only()
    {
        var (authority, certificate, fingerprint) = MakeFiles("one");
        var (_, foreign, _) = MakeFiles("two");
        using var ours = X509Certificate2.CreateFromPemFile(certificate);
        using var theirs = X509Certificate2.CreateFromPemFile(foreign);
        var byAuthority = Read(("BENCH_SILO_CERTIFICATE", certificate), ("BENCH_SILO_CA", authority)).Tls!.MakeValidation();
        byAuthority(ours).ShouldBeTrue();
        byAuthority(theirs).ShouldBeFalse();
        var byFingerprint = Read(("BENCH_SILO_CERTIFICATE", certificate), ("BENCH_SILO_FINGERPRINTS", fingerprint)).Tls!.MakeValidation();
        byFingerprint(ours).ShouldBeTrue();
        byFingerprint(theirs).ShouldBeFalse();
    }

    [Fact]
    public void What_is_refused_says_what_to_do()
    {
        var open = Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_ADDRESS", "10.0.0.5")).Check());
        open.Message.ShouldContain("BENCH_SILO_CERTIFICATE");
        open.Message.ShouldContain("BENCH_SILO_PLAINTEXT");
        Read(("BENCH_SILO_ADDRESS", "10.0.0.5"), ("BENCH_SILO_PLAINTEXT", "1")).Check();
        Read().Check();
        Read().Address.ShouldBe(IPAddress.Loopback);
        Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_ADDRESS", "0.0.0.0")).Check());
        Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_ADDRESS", "lab-2")));
        Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_PORT", "70000")));
        Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_CERTIFICATE", "x.pem"))).Message.ShouldContain("BENCH_SILO_CA");
        Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_CERTIFICATE", "x.pem"), ("BENCH_SILO_FINGERPRINTS", "abc")).Tls!.MakeValidation());
        Should.Throw<UserErrorException>(() => Read(("BENCH_SILO_CERTIFICATE", Path.Combine(_folder, "none.pem")), ("BENCH_SILO_CA", "x")).Tls!.LoadCertificate());
    }
}
