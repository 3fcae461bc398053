using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>A whole node in this process: services, leases, drivers, workers.</summary>
internal sealed class TestNode : IAsyncDisposable
{
    private readonly ServiceProvider _provider;
    private bool _stopped;

    private TestNode(ServiceProvider provider) => _provider = provider;

    public static async Task<TestNode> StartAsync(OrchestratorOptions options, Action<IServiceCollection>? configure = null)
    {
        var services = new ServiceCollection();
        services.AddLogging(l => l.AddProvider(new TestOutputLogger()).SetMinimumLevel(LogLevel.Information));
        configure?.Invoke(services);
        services.AddAgileQuantOrchestrator(options);
        var node = new TestNode(services.BuildServiceProvider());
        foreach (var hosted in node._provider.GetServices<IHostedService>())
            await hosted.StartAsync(TestContext.Current.CancellationToken);
        return node;
    }

    public T Get<T>() where T : notnull => _provider.GetRequiredService<T>();

    /// <summary>Waits, at most <paramref name="bound"/>, until the value is as wanted; fails with the last value.</summary>
    public static async Task<T> UntilAsync<T>(Func<Task<T>> read, Func<T, bool> wanted, TimeSpan? bound = null, Func<T, string>? describe = null)
    {
        var end = DateTime.UtcNow + (bound ?? TimeSpan.FromSeconds(60));
        while (true)
        {
            var value = await read();
            if (wanted(value))
                return value;
            if (DateTime.UtcNow > end)
                throw new TimeoutException($"still {(describe is null ? value?.ToString() : describe(value))}");
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
    }

    public async Task StopAsync()
    {
        if (_stopped)
            return;
        _stopped = true;
        foreach (var hosted in _provider.GetServices<IHostedService>().Reverse())
            await hosted.StopAsync(CancellationToken.None);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await _provider.DisposeAsync();
    }

    private sealed class TestOutputLogger : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            TestContext.Current.TestOutputHelper?.WriteLine($"{DateTime.UtcNow:HH:mm:ss.fff} {logLevel} {formatter(state, exception)} {exception}");

        public void Dispose()
        {
        }
    }
}
