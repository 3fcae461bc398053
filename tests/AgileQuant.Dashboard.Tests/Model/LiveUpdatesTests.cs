using AgileQuant.Dashboard.Model;
using AgileQuant.Dashboard.Tests.Fakes;
using Shouldly;
using Xunit;

namespace AgileQuant.Dashboard.Tests.Model;

/// <summary>Timers run by hand here; what is awaited is a refresh or its absence at the next one.</summary>
public sealed class LiveUpdatesTests : IDisposable
{
    private readonly FakeBench _bench = new();
    private readonly SemaphoreSlim _refreshed = new(0);
    private int _count;

    public void Dispose() => _refreshed.Dispose();

    private Task RefreshAsync(CancellationToken ct)
    {
        _count++;
        _refreshed.Release();
        return Task.CompletedTask;
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_change_that_concerns_the_page_refreshes_it_and_others_do_not()
    {
        await using var updates = new LiveUpdates(_bench, change => change.Topic == "matrix", RefreshAsync);
        await _bench.SubscribedAsync(Ct);
        _bench.Publish("device", Guid.Empty);
        _bench.Publish("matrix", Guid.Empty);
        await _refreshed.WaitAsync(Ct);
        _count.ShouldBe(1);
    }

    [Fact]
    public async Task A_burst_of_changes_is_far_fewer_refreshes()
    {
        await using var updates = new LiveUpdates(_bench, _ => true, RefreshAsync);
        await _bench.SubscribedAsync(Ct);
        for (var i = 0; i < 200; i++)
        {
            _bench.Publish("matrix", Guid.Empty);
        }

        await _refreshed.WaitAsync(Ct);
        _count.ShouldBeLessThan(10);
    }

    [Fact]
    public async Task A_paused_page_stands_still_and_catches_up_once_when_resumed()
    {
        await using var updates = new LiveUpdates(_bench, _ => true, RefreshAsync) { Paused = true };
        updates.Poke();
        updates.Poke();
        updates.Missed.ShouldBeTrue();
        _count.ShouldBe(0);
        updates.Paused = false;
        await _refreshed.WaitAsync(Ct);
        (_count, updates.Missed).ShouldBe((1, false));
    }

    [Fact]
    public async Task Leaving_the_page_ends_its_subscription()
    {
        var updates = new LiveUpdates(_bench, _ => true, RefreshAsync);
        await _bench.SubscribedAsync(Ct);
        await updates.DisposeAsync();
        _bench.Readers.ShouldBe(0);
    }
}
