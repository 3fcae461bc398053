using AgileQuant.Agent;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Storage;
using Polly;
using Polly.Retry;

namespace AgileQuant.Orchestrator.Driving;

/// <summary>
/// The connection to one board. Connects when it is first needed and again after a break; what a call was about is
/// repeated only by <see cref="RetryAsync"/>.
/// </summary>
public sealed class BoardSession : IAsyncDisposable
{
    private readonly IRemoteShellFactory _factory;
    private readonly ArtifactFetcher _artifacts;
    private readonly ConnectionSettings _settings;
    private readonly ResiliencePipeline _retry;
    private IRemoteShell? _shell;

    public BoardSession(IRemoteShellFactory factory, ArtifactFetcher artifacts, DeviceRow device, OrchestratorOptions options)
    {
        _factory = factory;
        _artifacts = artifacts;
        _settings = new ConnectionSettings(DeviceAddress.Parse(device.Address), device.HostKey, device.IdentityFile);
        _retry = new ResiliencePipelineBuilder().AddRetry(new RetryStrategyOptions
        {
            ShouldHandle = new PredicateBuilder().Handle<RemoteShellException>(e => e.IsTransient),
            MaxRetryAttempts = 3,
            Delay = options.RetryFirst / 4,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
        }).Build();
    }

    public DeviceAddress Address => _settings.Address;

    /// <summary>What really carries the connection; the chosen transport before there is one.</summary>
    public string Transport => _shell?.Transport ?? _factory.Transport;

    /// <summary>The connection, made anew when the last one broke.</summary>
    public async Task<IRemoteShell> ShellAsync(CancellationToken ct)
    {
        if (_shell is { IsConnected: true } connected)
            return connected;
        await DropAsync();
        return _shell = await _factory.ConnectAsync(_settings, ct);
    }

    /// <summary>The engine on the board under its hash.</summary>
    public async Task<BoardEngine> EngineAsync(string sha256, CancellationToken ct) => new(await ShellAsync(ct), sha256);

    /// <summary>Runs something that is safe to repeat, with a few quick tries over transient failures.</summary>
    public async Task<T> RetryAsync<T>(Func<CancellationToken, Task<T>> action, CancellationToken ct) =>
        await _retry.ExecuteAsync(async token => await action(token), ct);

    /// <inheritdoc cref="RetryAsync{T}"/>
    public async Task RetryAsync(Func<CancellationToken, Task> action, CancellationToken ct) =>
        await _retry.ExecuteAsync(async token => await action(token), ct);

    public Task<DeviceFacts> ProbeAsync(CancellationToken ct) =>
        RetryAsync(async token => await DeviceProbe.RunAsync(await ShellAsync(token), token), ct);

    /// <summary>Brings an artifact of the cluster onto the board, verified there; skips what it has.</summary>
    /// <exception cref="FileNotFoundException">No live node has the artifact.</exception>
    public async Task PushAsync(string sha256, bool executable, CancellationToken ct)
    {
        var path = await _artifacts.PathAsync(sha256, ct);
        await RetryAsync(async token =>
        {
            var shell = await ShellAsync(token);
            await BoardStore.PushAsync(shell, path, sha256, executable: executable, cancellationToken: token);
        }, ct);
    }

    public ValueTask DisposeAsync() => DropAsync();

    private async ValueTask DropAsync()
    {
        var shell = _shell;
        _shell = null;
        if (shell is not null)
            await shell.DisposeAsync();
    }
}
