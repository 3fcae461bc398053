using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace AgileQuant.Dashboard.Tests.Fakes;

/// <summary>The dashboard on a real Kestrel over <see cref="FakeBench"/>, on loopback, in Production as users run it.</summary>
internal sealed class DevHost : IAsyncDisposable
{
    private readonly WebApplication _app;

    private DevHost(WebApplication app, FakeBench bench, string address) => (_app, Bench, Address) = (app, bench, address);

    internal FakeBench Bench { get; }

    /// <summary>Base address without a slash at its end.</summary>
    internal string Address { get; }

    internal static async Task<DevHost> StartAsync(FakeBench? bench = null, int port = 0)
    {
        bench ??= new();
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions
        {
            ApplicationName = typeof(DevHost).Assembly.GetName().Name,
            EnvironmentName = Environments.Production,
            ContentRootPath = AppContext.BaseDirectory,
        });
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        builder.Logging.ClearProviders().AddSimpleConsole().SetMinimumLevel(LogLevel.Error);
        builder.Services.AddSingleton<IDeviceService>(bench).AddSingleton<IAssetService>(bench).AddSingleton<IMatrixService>(bench)
            .AddSingleton<IRunService>(bench).AddSingleton<IReportService>(bench).AddSingleton<IStatusService>(bench)
            .AddSingleton<TimeProvider>(new StillClock()).AddSingleton<ISignInService>(bench).AddSingleton<IChangeFeed>(bench);
        builder.Services.AddAgileQuantDashboard();
        var app = builder.Build();
        app.MapAgileQuantDashboard();
        await app.StartAsync();
        return new(app, bench, app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
    }

    internal async Task<string> SignInLinkAsync() =>
        $"{Address}/signin?token={await Bench.CreateOneTimeTokenAsync(TimeSpan.FromMinutes(5))}";

    internal Task WaitForShutdownAsync() => _app.WaitForShutdownAsync();

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    /// <summary>Tells the fakes' time of day, so that ages never change; timers run as ever.</summary>
    private sealed class StillClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => FakeDevices.Now;
    }
}
