using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Tests.Ownership;
using AgileQuant.Orchestrator.Tests.Support;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>The contract of ownership with two real silos.</summary>
public sealed class OrleansOwnershipTests : DeviceOwnershipContract
{
    private readonly List<TestSilo> _silos = [];

    internal override async Task<IDeviceOwnership> CreateAsync(TestStore store, NodeIdentity node)
    {
        _silos.Add(await TestSilo.StartAsync(store, node));
        return _silos[^1].Ownership;
    }

    internal override async ValueTask StopAsync()
    {
        foreach (var silo in _silos)
            await silo.DisposeAsync();
    }
}
