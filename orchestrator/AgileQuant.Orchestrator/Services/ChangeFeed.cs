using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace AgileQuant.Orchestrator.Services;

/// <summary>
/// Listens to the database's notifications on one connection and hands them to all subscribers, at most one a
/// batch and row. When the connection breaks it listens again and tells every subscriber to read everything anew.
/// </summary>
public sealed partial class ChangeFeed(Database database, ILogger<ChangeFeed> logger) : BackgroundService, IChangeFeed
{
    public const string Channel = "agilequant_change";
    private const int SubscriberCapacity = 1024;
    private static readonly TimeSpan Batch = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Reconnect = TimeSpan.FromSeconds(2);
    private static readonly string[] Topics = ["device", "matrix", "model", "dataset", "node", "engine"];

    private readonly Lock _lock = new();
    private readonly HashSet<ChangeEvent> _pending = [];
    private readonly List<Channel<ChangeEvent>> _subscribers = [];

    public async IAsyncEnumerable<ChangeEvent> SubscribeAsync([EnumeratorCancellation] CancellationToken ct = default)
    {
        var channel = System.Threading.Channels.Channel.CreateBounded<ChangeEvent>(
            new BoundedChannelOptions(SubscriberCapacity) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        lock (_lock)
            _subscribers.Add(channel);
        try
        {
            await foreach (var change in channel.Reader.ReadAllAsync(ct))
                yield return change;
        }
        finally
        {
            lock (_lock)
                _subscribers.Remove(channel);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var publishing = PublishAsync(stoppingToken);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await ListenAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogBroken(e.Message);
                await Task.Delay(Reconnect, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException)
            {
                break;
            }
        }

        await publishing;
    }

    private async Task ListenAsync(CancellationToken ct)
    {
        await using var connection = await database.OpenAsync(ct);
        connection.Notification += OnNotification;
        await using (var listen = new NpgsqlCommand($"listen {Channel}", connection))
            await listen.ExecuteNonQueryAsync(ct);
        // Whatever was missed while nobody listened: an empty id means "read the whole topic".
        lock (_lock)
            _pending.UnionWith(Topics.Select(t => new ChangeEvent(t, Guid.Empty)));
        while (true)
            await connection.WaitAsync(ct);
    }

    private void OnNotification(object sender, NpgsqlNotificationEventArgs e)
    {
        var colon = e.Payload.IndexOf(':');
        if (colon < 0 || !Guid.TryParse(e.Payload.AsSpan(colon + 1), out var id))
            return;
        lock (_lock)
            _pending.Add(new ChangeEvent(e.Payload[..colon], id));
    }

    private async Task PublishAsync(CancellationToken ct)
    {
        using var timer = new PeriodicTimer(Batch);
        try
        {
            while (await timer.WaitForNextTickAsync(ct))
                Publish();
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    private void Publish()
    {
        lock (_lock)
        {
            foreach (var change in _pending)
            {
                foreach (var subscriber in _subscribers)
                    subscriber.Writer.TryWrite(change);
            }

            _pending.Clear();
        }
    }

    [LoggerMessage(LogLevel.Warning, "The change feed lost its database connection and connects again: {Reason}")]
    private partial void LogBroken(string reason);
}
