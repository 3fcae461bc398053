using System.Collections.Concurrent;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>What a node does with its ownership, at the same pace, without driving anything.</summary>
internal sealed class TestOwner(TestSilo silo, TimeSpan lease) : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private Task _running = Task.CompletedTask;

    /// <summary>Leases it has, by device.</summary>
    public ConcurrentDictionary<Guid, DeviceLease> Held { get; } = new();

    public void Start() => _running = Task.Run(RunAsync);

    /// <summary>Stops without a word, as a process does that is killed.</summary>
    public async Task KillAsync()
    {
        await _stop.CancelAsync();
        await _running;
    }

    /// <summary>Gives everything back, as a node does that is stopped.</summary>
    public async Task StopAsync()
    {
        await KillAsync();
        await silo.Get<NodeStore>().StopAsync(silo.Node, CancellationToken.None);
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await TurnAsync();
            }
            catch (Exception e)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{silo.Node.Name}: {e.Message}");
            }

            await Task.Delay(lease / 6, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task TurnAsync()
    {
        await silo.Get<NodeStore>().BeatAsync(silo.Node, _stop.Token);
        var held = Held.Values.ToList();
        var kept = (await silo.Ownership.RenewAsync(held, _stop.Token)).Select(l => l.DeviceId).ToHashSet();
        foreach (var lost in held.Where(l => !kept.Contains(l.DeviceId)))
            Held.TryRemove(lost.DeviceId, out _);
        foreach (var device in await silo.Ownership.SurplusAsync(_stop.Token))
        {
            if (Held.TryRemove(device, out var surplus))
                await silo.Ownership.ReleaseAsync(surplus, _stop.Token);
        }

        foreach (var granted in await silo.Ownership.AcquireAsync(Held.Count, _stop.Token))
            Held[granted.DeviceId] = granted;
    }
}
