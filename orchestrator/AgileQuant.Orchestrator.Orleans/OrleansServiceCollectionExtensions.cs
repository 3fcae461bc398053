using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Orleans.Matrices;
using AgileQuant.Orchestrator.Orleans.Silo;
using AgileQuant.Orchestrator.Orleans.Work;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Packing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace AgileQuant.Orchestrator.Orleans;

/// <summary>Puts a node into an Orleans cluster.</summary>
public static class OrleansServiceCollectionExtensions
{
    /// <summary>Call it before <c>AddAgileQuantOrchestrator</c>: the node then gets its devices through grains.</summary>
    public static IServiceCollection AddOrleansOwnership(this IServiceCollection services, SiloSettings settings)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(settings);
        services.AddSingleton<LocalLeases>();
        services.AddSingleton<ClusterSilo>();
        services.AddSingleton<IDeviceOwnership, OrleansOwnership>();
        services.AddSingleton<OfferedJobs>();
        services.AddSingleton<INodeJobSource, OrleansJobSource>();
        services.AddSingleton<IMatrixProgress, OrleansMatrixProgress>();
        services.AddHostedService(p => p.GetRequiredService<ClusterSilo>()); // first to start, last to stop
        return services;
    }
}
