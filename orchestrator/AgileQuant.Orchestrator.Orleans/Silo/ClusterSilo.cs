using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Orleans.Silo;

/// <summary>
/// This node's silo. When it leaves the cluster against its will (it was paused and declared dead, say) a new one takes its place;
/// while there is none the node works by leases alone.
/// </summary>
public sealed partial class ClusterSilo(
    IServiceProvider node, Database database, SiloSettings settings, OrchestratorOptions options, ILogger<ClusterSilo> logger) : IHostedService, IAsyncDisposable
{
    private static readonly TimeSpan LeaveBound = TimeSpan.FromSeconds(3);
    private readonly CancellationTokenSource _stop = new();
    private volatile TaskCompletionSource<string> _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile IHost? _host;
    private Task _supervising = Task.CompletedTask;
    private int _disposed;

    /// <summary>Grains of the cluster; null while this node has no silo.</summary>
    public IGrainFactory? Grains => _host?.Services.GetRequiredService<IGrainFactory>();

    /// <summary>Address of the silo, for people; null while there is none.</summary>
    public string? Address => _host?.Services.GetRequiredService<ILocalSiloDetails>().SiloAddress.ToParsableString();

    /// <summary>How often a new silo took the place of an old one.</summary>
    public int Restarts { get; private set; }

    /// <summary>A service of the silo; null while there is none.</summary>
    internal T? Service<T>() where T : class => _host?.Services.GetRequiredService<T>();

    /// <summary>Joins the cluster; the node has no other work before that.</summary>
    /// <exception cref="UserErrorException">It may not listen as configured.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        settings.Check();
        await Migrator.MigrateAsync(database, cancellationToken);
        await JoinAsync(cancellationToken);
        _supervising = SuperviseAsync();
    }

    /// <summary>Leaves the cluster in order, so that nobody has to find out. The node has given its devices back before.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stop.CancelAsync();
        await _supervising;
        await LeaveAsync(options.Lease);
    }

    /// <summary>Ends the silo as a crash does: nobody is told. For tests of what the others do then.</summary>
    internal async Task CrashAsync()
    {
        await _stop.CancelAsync();
        await _supervising;
        await LeaveAsync(TimeSpan.Zero);
    }

    /// <summary>A container that knows it under two names disposes it twice.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _stop.CancelAsync();
        await _supervising;
        await LeaveAsync(TimeSpan.Zero);
        _stop.Dispose();
    }

    private async Task JoinAsync(CancellationToken ct)
    {
        var failed = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        _failed = failed;
        var cluster = (await database.ClusterIdAsync(ct)).ToString();
        var host = SiloHost.Build(node, settings, cluster, reason => failed.TrySetResult(reason));
        try
        {
            await host.StartAsync(ct);
        }
        catch
        {
            await DisposeAsync(host);
            throw;
        }

        _host = host;
        LogJoined(Address!);
    }

    private async Task SuperviseAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                if (_host is not null)
                {
                    LogLeft(await _failed.Task.WaitAsync(_stop.Token));
                    await LeaveAsync(TimeSpan.Zero);
                }

                await JoinAsync(_stop.Token);
                Restarts++;
            }
            catch (Exception e) when (!_stop.IsCancellationRequested)
            {
                LogCannotJoin(e.Message);
                await Task.Delay(options.Lease / 3, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task LeaveAsync(TimeSpan grace)
    {
        if (Interlocked.Exchange(ref _host, null) is not { } host)
            return;
        using var bound = new CancellationTokenSource();
        if (grace > TimeSpan.Zero)
            bound.CancelAfter(grace);
        else
            await bound.CancelAsync();
        var leaving = host.StopAsync(bound.Token);
        try
        {
            // Without the database it would try for long to write that it leaves; others find out by themselves.
            await leaving.WaitAsync(grace + LeaveBound);
            await DisposeAsync(host);
        }
        catch (Exception e)
        {
            LogAbandoned(e.Message);
            _ = leaving.ContinueWith(_ => DisposeAsync(host), TaskScheduler.Default).Unwrap().ContinueWith(t => t.Exception, TaskScheduler.Default);
        }
    }

    private static async Task DisposeAsync(IHost host)
    {
        if (host is IAsyncDisposable disposable)
            await disposable.DisposeAsync();
        else
            host.Dispose();
    }

    [LoggerMessage(LogLevel.Information, "The silo {Address} has joined the cluster")]
    private partial void LogJoined(string address);

    [LoggerMessage(LogLevel.Warning, "The silo left the cluster and is made anew: {Reason}")]
    private partial void LogLeft(string reason);

    [LoggerMessage(LogLevel.Warning, "The silo did not end in order: {Reason}")]
    private partial void LogAbandoned(string reason);

    [LoggerMessage(LogLevel.Warning, "The silo cannot join the cluster, the node goes on by leases alone and tries again: {Reason}")]
    private partial void LogCannotJoin(string reason);
}
