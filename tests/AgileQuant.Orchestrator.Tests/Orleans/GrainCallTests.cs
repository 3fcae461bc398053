using System.Diagnostics;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>How many grain calls a second two silos on this machine do; figures for the output, not limits.</summary>
public sealed class GrainCallTests
{
    private const int Callers = 32;
    private const int Calls = 200;

    [Fact]
    [Trait("Category", "Long")]
    public async Task Calls_within_a_silo_and_between_two()
    {
        await using var store = await TestStore.CreateAsync();
        await using var one = await TestSilo.StartAsync(store, await store.AddNodeAsync("one"));
        await using var two = await TestSilo.StartAsync(store, await store.AddNodeAsync("two"));
        await store.ExecuteAsync("update node set alive_until = case when name = 'one' then clock_timestamp() + interval '1 hour' else clock_timestamp() end");
        var devices = new List<Guid>();
        for (var i = 0; i < Callers; i++)
            devices.Add(await store.AddDeviceAsync($"board{i}", "offline"));
        await MeasureAsync(one, devices, 10); // takes the leases
        devices.ShouldAllBe(d => one.Leases.Find(d) != null);
        Say("within a silo", await MeasureAsync(one, devices, Calls));
        Say("between two silos", await MeasureAsync(two, devices, Calls));
    }

    private static void Say(string what, double rate) =>
        TestContext.Current.TestOutputHelper!.WriteLine($"{what}: {rate:0} grain calls a second, {Callers} callers");

    private static async Task<double> MeasureAsync(TestSilo from, IEnumerable<Guid> devices, int calls)
    {
        var watch = Stopwatch.StartNew();
        var all = await Task.WhenAll(devices.Select(async device =>
        {
            var grain = from.Grains.GetGrain<IDeviceGrain>(device);
            for (var i = 0; i < calls; i++)
                await grain.WakeAsync();
            return calls;
        }));
        return all.Sum() / watch.Elapsed.TotalSeconds;
    }
}
