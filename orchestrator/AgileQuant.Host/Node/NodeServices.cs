using AgileQuant.Host.Boards;
using AgileQuant.Host.Peers;
using AgileQuant.Orchestrator;
using AgileQuant.Orchestrator.Artifacts;
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
        services.AddSingleton(settings.Home);
        services.TryAddSingleton(Transports.Choose(settings.Transport).Make());
        services.AddSingleton<PeerRegistration>();
        var address = NodeAddress.Choose(settings.Listen?.Address, connectionString);
        Clusters.Choose(settings.Cluster).Add(services, address);
        services.AddHostedService(p => ActivatorUtilities.CreateInstance<PeerServer>(p, address)); // before the orchestrator: the node's row says where it serves
        services.AddHostedService<LocalBoardsService>(); // before the orchestrator: its drivers find the boards up
        services.AddAgileQuantOrchestrator(new OrchestratorOptions
        {
            ConnectionString = connectionString,
            Home = settings.Home.Folder,
            NodeName = settings.Name,
            Version = Product.Version,
            Lease = settings.Lease,
            DatabaseDescription = databaseDescription,
            BuiltIn = [.. Transports.BuiltIn.Select(t => t.Name), .. Clusters.BuiltIn.Select(c => c.Name)],
        });
        services.TryAddSingleton<IReportService, ReportService>();
    }
}
