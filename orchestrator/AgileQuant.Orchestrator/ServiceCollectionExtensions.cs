using AgileQuant.Agent;
using AgileQuant.Agent.OpenSsh;
using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Driving;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Packing;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace AgileQuant.Orchestrator;

/// <summary>Puts the orchestrator into a host.</summary>
public static class ServiceCollectionExtensions
{
    /// <summary>
    /// Adds the application services and, when <see cref="OrchestratorOptions.RunNode"/>, the node that drives devices. The
    /// transport and the ownership may be registered before; otherwise they are OpenSSH and Postgres leases.
    /// </summary>
    public static IServiceCollection AddAgileQuantOrchestrator(this IServiceCollection services, OrchestratorOptions options)
    {
        services.AddSingleton(options);
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(NodeIdentity.Create(options.NodeName));
        services.TryAddSingleton<IRemoteShellFactory>(_ => new OpenSshShellFactory());
        services.TryAddSingleton<IDeviceOwnership, PostgresLeaseOwnership>();
        services.AddSingleton<LeaseStore>();
        services.AddSingleton<WakeSignal>();
        services.TryAddSingleton<PeerRegistration>();
        services.AddSingleton<ArtifactFetcher>();
        AddStorage(services);
        AddApplicationServices(services);
        services.AddHostedService<MigrationService>();
        services.AddHostedService(p => p.GetRequiredService<ChangeFeed>());
        if (options.RunNode)
        {
            services.AddSingleton<LocalEngine>();
            services.AddSingleton<NodeJobs>();
            services.TryAddSingleton<INodeJobSource, FirstComeJobSource>();
            services.AddSingleton<NodeWorkerFactory>();
            services.AddSingleton<Comparison>();
            services.AddSingleton<DriverServices>();
            services.AddHostedService<NodeService>();
            services.AddHostedService<ArtifactReplicator>();
        }

        return services;
    }

    private static void AddStorage(IServiceCollection services)
    {
        services.AddSingleton<Database>();
        services.AddSingleton<ArtifactStore>();
        services.AddSingleton<NodeStore>();
        services.AddSingleton<DeviceStore>();
        services.AddSingleton<AssetStore>();
        services.AddSingleton<MatrixStore>();
        services.AddSingleton<JobStore>();
        services.AddSingleton<AttemptStore>();
        services.AddSingleton<NodeJobStore>();
        services.AddSingleton<ScoreStore>();
        services.AddSingleton<TelemetryStore>();
        services.AddSingleton<HostUseStore>();
        services.AddSingleton<ViewStore>();
    }

    private static void AddApplicationServices(IServiceCollection services)
    {
        services.AddSingleton<IDeviceService, DeviceService>();
        services.AddSingleton<BaselineComparisons>();
        services.AddSingleton<IMatrixService, MatrixService>();
        services.AddSingleton<IRunService, RunService>();
        services.AddSingleton<IAssetService, AssetService>();
        services.AddSingleton<IStatusService, StatusService>();
        services.AddSingleton<ISignInService, SignInService>();
        services.AddSingleton<FeedMatrixProgress>();
        services.TryAddSingleton<IMatrixProgress>(p => p.GetRequiredService<FeedMatrixProgress>());
        services.AddSingleton<ChangeFeed>();
        services.AddSingleton<IChangeFeed>(p => p.GetRequiredService<ChangeFeed>());
    }
}
