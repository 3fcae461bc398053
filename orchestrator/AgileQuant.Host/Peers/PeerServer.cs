using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using AgileQuant.Host.Node;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Host.Peers;

/// <summary>
/// Serves this node's artifacts to the other nodes of its cluster, and nothing else: a web server of its own with a certificate and a
/// token made at each start, which other nodes learn from the database.
/// </summary>
internal sealed partial class PeerServer(NodeSettings settings, IPAddress address, ArtifactStore store, PeerRegistration registration) : IHostedService, IAsyncDisposable
{
    private WebApplication? _app;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32));
        using var fresh = MakeCertificate(settings.Name);
        var certificate = X509CertificateLoader.LoadPkcs12(fresh.Export(X509ContentType.Pkcs12), null); // else its key cannot be used by TLS everywhere
        var builder = WebApplication.CreateSlimBuilder();
        builder.Configuration.Sources.Clear(); // nothing of the environment (ASPNETCORE_URLS) is meant for this server
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxConcurrentConnections = 64;
            kestrel.Limits.MaxRequestBodySize = 0;
            kestrel.Listen(address, settings.Listen?.Port ?? 0, listen => listen.UseHttps(certificate));
        });
        _app = builder.Build();
        _app.MapMethods("/artifacts/{sha256}", [HttpMethods.Get, HttpMethods.Head], (string sha256, HttpRequest request) => Serve(sha256, request, token));
        try
        {
            await _app.StartAsync(cancellationToken);
        }
        catch (IOException e)
        {
            throw new UserErrorException($"cannot serve artifacts on {address}:{settings.Listen?.Port ?? 0}: {e.Message}; choose another with --listen", e);
        }

        var port = new Uri(_app.Urls.First()).Port;
        registration.Endpoint = new PeerEndpoint($"https://{new IPEndPoint(address, port)}", Convert.ToHexStringLower(SHA256.HashData(certificate.RawData)), token);
    }

    public Task StopAsync(CancellationToken cancellationToken) => _app?.StopAsync(cancellationToken) ?? Task.CompletedTask;

    public ValueTask DisposeAsync() => _app?.DisposeAsync() ?? ValueTask.CompletedTask;

    private IResult Serve(string sha256, HttpRequest request, string token)
    {
        if (!CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes("Bearer " + token), Encoding.UTF8.GetBytes(request.Headers.Authorization.ToString())))
            return Results.Unauthorized();
        return HashPattern().IsMatch(sha256) && store.Contains(sha256)
            ? Results.File(store.PathOf(sha256), "application/octet-stream", enableRangeProcessing: true)
            : Results.NotFound();
    }

    /// <summary>For this process's life; clients compare its hash, so names and dates in it do not matter.</summary>
    private static X509Certificate2 MakeCertificate(string node)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(new X500DistinguishedName($"CN=\"agilequant {node.Replace("\"", "", StringComparison.Ordinal)}\""), key, HashAlgorithmName.SHA256);
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(10));
    }

    [GeneratedRegex("^[0-9a-f]{64}$", RegexOptions.None, 1000)]
    private static partial Regex HashPattern();
}
