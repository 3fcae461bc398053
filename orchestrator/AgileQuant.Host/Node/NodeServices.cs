using AgileQuant.Orchestrator;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace AgileQuant.Host.Node;

/// <summary>What a node is put together from.</summary>
internal static class NodeServices
{
    public static void Add(IServiceCollection services, NodeSettings settings, string connectionString, string databaseDescription)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(settings);
        services.AddAgileQuantOrchestrator(new OrchestratorOptions
        {
            ConnectionString = connectionString,
            Home = settings.Home.Folder,
            NodeName = settings.Name,
            Version = Product.Version,
            DatabaseDescription = databaseDescription,
            BuiltIn = ["OpenSSH", "Postgres leases"],
        });
        services.TryAddSingleton<IReportService, ReportService>();
    }
}
