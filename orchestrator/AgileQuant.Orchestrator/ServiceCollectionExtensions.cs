using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.DependencyInjection;

namespace AgileQuant.Orchestrator;

/// <summary>Puts the orchestrator into a host.</summary>
public static class ServiceCollectionExtensions
{
    /// <summary>
    /// Adds the application services and, when <see cref="OrchestratorOptions.RunNode"/>, the node that drives devices.
    /// The host also has to register an <c>IRemoteShellFactory</c>.
    /// </summary>
    public static IServiceCollection AddAgileQuantOrchestrator(this IServiceCollection services, OrchestratorOptions options)
    {
        services.AddSingleton(options);
        services.AddSingleton<Database>();
        services.AddHostedService<MigrationService>();
        services.AddSingleton<IDeviceService, DeviceService>();
        services.AddSingleton<IMatrixService, MatrixService>();
        services.AddSingleton<IRunService, RunService>();
        services.AddSingleton<IAssetService, AssetService>();
        services.AddSingleton<IStatusService, StatusService>();
        services.AddSingleton<ISignInService, SignInService>();
        services.AddSingleton<ChangeFeed>();
        services.AddSingleton<IChangeFeed>(p => p.GetRequiredService<ChangeFeed>());
        services.AddHostedService(p => p.GetRequiredService<ChangeFeed>());
        return services;
    }
}
