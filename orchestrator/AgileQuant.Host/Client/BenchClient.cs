using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json;
using AgileQuant.Engine;
using AgileQuant.Host.Api;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Client;

/// <summary>The REST API of the local node, over its Unix socket. Errors become <see cref="BenchException"/> with the node's words.</summary>
public sealed class BenchClient : IDisposable
{
    private readonly HttpClient _http;

    /// <param name="timeout">How long an answer may take; null: 10 minutes, which an import may need.</param>
    public BenchClient(BenchHome home, TimeSpan? timeout = null)
    {
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, ct) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(home.Socket), ct);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        _http = new HttpClient(handler) { BaseAddress = new Uri("http://localhost/api/v1/"), Timeout = timeout ?? TimeSpan.FromMinutes(10) };
    }

    public Task<HealthView> HealthAsync(CancellationToken ct) => GetAsync<HealthView>("health", ct);

    public Task<StatusView> StatusAsync(CancellationToken ct) => GetAsync<StatusView>("status", ct);

    public Task<SignInLink> CreateSignInLinkAsync(CancellationToken ct) => PostAsync<SignInLink>("signin-links", null, ct);

    public Task StopNodeAsync(CancellationToken ct) => SendAsync(HttpMethod.Post, "node/stop", null, ct);

    public Task<IReadOnlyList<DeviceView>> ListDevicesAsync(CancellationToken ct) => GetAsync<IReadOnlyList<DeviceView>>("devices", ct);

    public Task<DeviceView> GetDeviceAsync(string device, CancellationToken ct) => GetAsync<DeviceView>($"devices/{Esc(device)}", ct);

    public Task<HostKeyView> FetchHostKeyAsync(string address, CancellationToken ct) =>
        PostAsync<HostKeyView>("devices/host-key", new HostKeyRequest(address), ct);

    public Task<DeviceView> AddDeviceAsync(AddDeviceRequest request, CancellationToken ct) => PostAsync<DeviceView>("devices", request, ct);

    public Task CheckDeviceAsync(string device, CancellationToken ct) => SendAsync(HttpMethod.Post, $"devices/{Esc(device)}/check", null, ct);

    public Task AdoptDeviceAsync(string device, CancellationToken ct) => SendAsync(HttpMethod.Post, $"devices/{Esc(device)}/adopt", null, ct);

    public Task RemoveDeviceAsync(string device, bool force, CancellationToken ct) =>
        SendAsync(HttpMethod.Delete, $"devices/{Esc(device)}?force={(force ? "true" : "false")}", null, ct);

    public Task<IReadOnlyList<ModelView>> ListModelsAsync(CancellationToken ct) => GetAsync<IReadOnlyList<ModelView>>("models", ct);

    public Task<ModelView> ImportModelAsync(ImportModelRequest request, IProgress<ModelProgress>? progress, CancellationToken ct) =>
        ImportAsync("models", request, progress, ct);

    public Task<ModelView> CreateRandomModelAsync(RandomModelRequest request, IProgress<ModelProgress>? progress, CancellationToken ct) =>
        ImportAsync("models/random", request, progress, ct);

    public Task<IReadOnlyList<DatasetView>> ListDatasetsAsync(CancellationToken ct) => GetAsync<IReadOnlyList<DatasetView>>("datasets", ct);

    public Task<DatasetView> ImportDatasetAsync(ImportDatasetRequest request, CancellationToken ct) => PostAsync<DatasetView>("datasets", request, ct);

    public Task<IReadOnlyList<EngineView>> ListEnginesAsync(CancellationToken ct) => GetAsync<IReadOnlyList<EngineView>>("engines", ct);

    public Task<EngineView> AddEngineAsync(string path, CancellationToken ct) => PostAsync<EngineView>("engines", new AddEngineRequest(path), ct);

    public Task<MatrixPlanView> PlanMatrixAsync(MatrixSpec spec, CancellationToken ct) => PostAsync<MatrixPlanView>("matrices/plan", spec, ct);

    public async Task<Guid> StartMatrixAsync(MatrixSpec spec, CancellationToken ct) => (await PostAsync<MatrixStarted>("matrices", spec, ct)).Id;

    public Task<IReadOnlyList<MatrixSummaryView>> ListMatricesAsync(CancellationToken ct) =>
        GetAsync<IReadOnlyList<MatrixSummaryView>>("matrices", ct);

    public Task<MatrixView> GetMatrixAsync(string matrix, CancellationToken ct) => GetAsync<MatrixView>($"matrices/{Esc(matrix)}", ct);

    public Task CancelMatrixAsync(string matrix, CancellationToken ct) => SendAsync(HttpMethod.Post, $"matrices/{Esc(matrix)}/cancel", null, ct);

    public Task<RunDetailView> GetRunAsync(Guid run, CancellationToken ct) => GetAsync<RunDetailView>($"runs/{run}", ct);

    /// <summary>A rendered report and the name it should have.</summary>
    public async Task<ReportFile> GetReportAsync(string matrix, string format, CancellationToken ct)
    {
        using var response = await CallAsync(HttpMethod.Get, $"matrices/{Esc(matrix)}/report?format={Esc(format)}", null, HttpCompletionOption.ResponseContentRead, ct);
        var name = response.Content.Headers.ContentDisposition?.FileNameStar ?? response.Content.Headers.ContentDisposition?.FileName ?? $"report.{format}";
        return new ReportFile(name.Trim('"'), response.Content.Headers.ContentType?.ToString() ?? "", await response.Content.ReadAsByteArrayAsync(ct));
    }

    /// <summary>The matrix whenever it changes, until it ends or the node stops.</summary>
    public async IAsyncEnumerable<MatrixView> WatchMatrixAsync(string matrix, [EnumeratorCancellation] CancellationToken ct)
    {
        using var response = await CallAsync(HttpMethod.Get, $"matrices/{Esc(matrix)}/watch", null, HttpCompletionOption.ResponseHeadersRead, ct);
        await foreach (var view in LinesAsync<MatrixView>(response, ct))
            yield return view;
    }

    public void Dispose() => _http.Dispose();

    private static string Esc(string text) => Uri.EscapeDataString(text);

    private async Task<ModelView> ImportAsync(string path, object request, IProgress<ModelProgress>? progress, CancellationToken ct)
    {
        using var response = await CallAsync(HttpMethod.Post, path, request, HttpCompletionOption.ResponseHeadersRead, ct);
        await foreach (var line in LinesAsync<ModelImportEvent>(response, ct))
        {
            if (line.Error is { } error)
                throw new BenchException(error);
            if (line.Model is { } model)
                return model;
            if (line.Progress is { } value)
                progress?.Report(new ModelProgress(value, line.Tensor ?? "", line.Number ?? 0, line.Count ?? 0));
        }

        throw new BenchException("the node ended the import without a result; its log says why (`bench status` names it)");
    }

    private static async IAsyncEnumerable<T> LinesAsync<T>(HttpResponseMessage response, [EnumeratorCancellation] CancellationToken ct)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(ct);
        using var reader = new StreamReader(stream);
        while (true)
        {
            string? line;
            try
            {
                line = await reader.ReadLineAsync(ct);
            }
            catch (Exception e) when (e is IOException or HttpRequestException)
            {
                yield break; // the node went away: the caller sees that the last word is missing
            }

            if (line is null)
                yield break;
            if (line.Length > 0)
                yield return JsonSerializer.Deserialize<T>(line, ApiJson.Options)!;
        }
    }

    private async Task<T> GetAsync<T>(string path, CancellationToken ct)
    {
        using var response = await CallAsync(HttpMethod.Get, path, null, HttpCompletionOption.ResponseContentRead, ct);
        return (await response.Content.ReadFromJsonAsync<T>(ApiJson.Options, ct))!;
    }

    private async Task<T> PostAsync<T>(string path, object? body, CancellationToken ct)
    {
        using var response = await CallAsync(HttpMethod.Post, path, body, HttpCompletionOption.ResponseContentRead, ct);
        return (await response.Content.ReadFromJsonAsync<T>(ApiJson.Options, ct))!;
    }

    private async Task SendAsync(HttpMethod method, string path, object? body, CancellationToken ct)
    {
        using var _ = await CallAsync(method, path, body, HttpCompletionOption.ResponseContentRead, ct);
    }

    private async Task<HttpResponseMessage> CallAsync(
        HttpMethod method, string path, object? body, HttpCompletionOption until, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
            request.Content = JsonContent.Create(body, body.GetType(), options: ApiJson.Options);
        HttpResponseMessage response;
        try
        {
            response = await _http.SendAsync(request, until, ct);
        }
        catch (HttpRequestException e)
        {
            throw new BenchException($"the local node does not answer ({e.InnerException?.Message ?? e.Message}); `bench status` shows its state, `bench up` starts it", e);
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new BenchException($"the local node did not answer within {_http.Timeout.TotalSeconds:0} s; `bench status` shows its state, `bench down` ends it", e);
        }

        if (response.IsSuccessStatusCode)
            return response;
        using (response)
        {
            throw new BenchException(await ProblemAsync(response, ct));
        }
    }

    private static async Task<string> ProblemAsync(HttpResponseMessage response, CancellationToken ct)
    {
        try
        {
            using var document = await JsonDocument.ParseAsync(await response.Content.ReadAsStreamAsync(ct), default, ct);
            foreach (var name in (string[])["detail", "title"])
            {
                if (document.RootElement.TryGetProperty(name, out var text) && text.GetString() is { Length: > 0 } message)
                    return message;
            }
        }
        catch (JsonException)
        {
            // not a problem document
        }

        return $"the node answered {(int)response.StatusCode} {(response.StatusCode == HttpStatusCode.NotFound ? "not found" : response.ReasonPhrase)}";
    }
}
