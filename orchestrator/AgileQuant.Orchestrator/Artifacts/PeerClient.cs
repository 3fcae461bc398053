using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Artifacts;

/// <summary>
/// Another node's artifacts over HTTPS. The certificate is that node's own and is compared with the fingerprint in the database,
/// so no authority has to be set up; the token, from the database too, says that we belong to the cluster.
/// </summary>
public sealed class PeerClient : IDisposable
{
    private static readonly TimeSpan ConnectBound = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SilenceBound = TimeSpan.FromSeconds(30);
    private readonly HttpClient _http;

    public PeerClient(PeerRow peer)
    {
        var handler = new SocketsHttpHandler { ConnectTimeout = ConnectBound, UseProxy = false, AllowAutoRedirect = false };
        handler.SslOptions = new SslClientAuthenticationOptions
        {
            RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                certificate is not null && Convert.ToHexStringLower(SHA256.HashData(certificate.GetRawCertData())) == peer.CertificateSha256,
        };
        _http = new HttpClient(handler) { BaseAddress = new Uri(peer.Url), Timeout = Timeout.InfiniteTimeSpan };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", peer.Token);
    }

    /// <summary>Whether the node has it; false also when it does not answer.</summary>
    public async Task<bool> HasAsync(string sha256, CancellationToken ct)
    {
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(ct);
        bound.CancelAfter(ConnectBound * 2);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Head, $"/artifacts/{sha256}");
            using var response = await _http.SendAsync(request, bound.Token);
            return response.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException && !ct.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Downloads what is missing at the end of <paramref name="part"/>.</summary>
    /// <exception cref="TimeoutException">Nothing came for 30 s.</exception>
    public async Task DownloadAsync(string sha256, string part, CancellationToken ct)
    {
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(ct);
        try
        {
            await using var file = new FileStream(part, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None, 1 << 20);
            using var request = new HttpRequestMessage(HttpMethod.Get, $"/artifacts/{sha256}");
            if (file.Length > 0)
                request.Headers.Range = new RangeHeaderValue(file.Length, null);
            bound.CancelAfter(SilenceBound);
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, bound.Token);
            if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
                return; // it is whole already
            response.EnsureSuccessStatusCode();
            file.Position = response.StatusCode == HttpStatusCode.PartialContent ? file.Length : 0;
            file.SetLength(file.Position);
            await using var body = await response.Content.ReadAsStreamAsync(bound.Token);
            var buffer = new byte[1 << 20];
            while (await body.ReadAsync(buffer, bound.Token) is > 0 and var count)
            {
                await file.WriteAsync(buffer.AsMemory(0, count), bound.Token);
                bound.CancelAfter(SilenceBound);
            }
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new TimeoutException($"nothing came for {SilenceBound.TotalSeconds:0} s", e);
        }
    }

    public void Dispose() => _http.Dispose();
}
