using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Orleans;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Orleans.Silo;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Tests.Orleans;

/// <summary>A real silo on loopback with the ownership of one node, without its drivers.</summary>
internal sealed class TestSilo : IAsyncDisposable
{
    private readonly ServiceProvider _services;

    private TestSilo(ServiceProvider services, NodeIdentity node)
    {
        _services = services;
        Node = node;
    }

    public NodeIdentity Node { get; }

    public ClusterSilo Silo => _services.GetRequiredService<ClusterSilo>();

    public IDeviceOwnership Ownership => _services.GetRequiredService<IDeviceOwnership>();

    public LocalLeases Leases => _services.GetRequiredService<LocalLeases>();

    public IGrainFactory Grains => Silo.Grains ?? throw new InvalidOperationException("no silo");

    /// <param name="store">The database.</param>
    /// <param name="node">Its row is there already.</param>
    /// <param name="lease">Null: as the store's options say.</param>
    /// <param name="settings">Null: loopback, any port, no TLS.</param>
    public static async Task<TestSilo> StartAsync(TestStore store, NodeIdentity node, TimeSpan? lease = null, SiloSettings? settings = null)
    {
        var options = store.Options with { NodeName = node.Name, Lease = lease ?? store.Options.Lease };
        var services = new ServiceCollection();
        services.AddLogging(l => l.AddProvider(new TestLog()).AddFilter("Orleans", LogLevel.Warning).AddFilter("Microsoft", LogLevel.Warning));
        services.AddOrleansOwnership(settings ?? new SiloSettings());
        services.AddAgileQuantOrchestrator(options with { RunNode = false });
        services.AddSingleton(node);
        services.AddSingleton<IMatrixService>(p => new CountingMatrices(ActivatorUtilities.CreateInstance<MatrixService>(p)));
        var silo = new TestSilo(services.BuildServiceProvider(), node);
        try
        {
            await silo.Silo.StartAsync(TestContext.Current.CancellationToken);
            await silo.Get<ChangeFeed>().StartAsync(TestContext.Current.CancellationToken);
        }
        catch
        {
            await silo.DisposeAsync();
            throw;
        }

        return silo;
    }

    public T Get<T>() where T : notnull => _services.GetRequiredService<T>();

    public async ValueTask DisposeAsync()
    {
        await Get<ChangeFeed>().StopAsync(CancellationToken.None);
        await Silo.StopAsync(CancellationToken.None);
        await _services.DisposeAsync();
    }

    private sealed class TestLog : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            TestContext.Current.TestOutputHelper?.WriteLine($"{DateTime.UtcNow:HH:mm:ss.fff} {logLevel} {formatter(state, exception)} {exception?.Message}");

        public void Dispose()
        {
        }
    }
}
