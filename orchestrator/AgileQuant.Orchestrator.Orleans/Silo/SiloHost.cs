using System.Net;
using System.Net.Sockets;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Orleans.Storage;
using AgileQuant.Orchestrator.Orleans.Work;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Services;
using AgileQuant.Orchestrator.Storage;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Connections.Security;
using Orleans.Providers;
using Orleans.Runtime.Hosting;

namespace AgileQuant.Orchestrator.Orleans.Silo;

/// <summary>Builds one silo in a host of its own, beside the node's: it can end and be made anew while the node goes on.</summary>
internal static class SiloHost
{
    public const string ServiceId = "agilequant-bench";

    /// <param name="node">Services of the node, which grains use.</param>
    /// <param name="settings">Where and how it listens.</param>
    /// <param name="cluster">Id of our cluster.</param>
    /// <param name="fatal">Told when the silo cannot go on, for instance because others declared it dead.</param>
    public static IHost Build(IServiceProvider node, SiloSettings settings, string cluster, Action<string> fatal)
    {
        var lease = node.GetRequiredService<OrchestratorOptions>().Lease;
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        Share(builder.Services, node);
        builder.Services.Replace(ServiceDescriptor.Singleton<IHostLifetime, NoLifetime>()); // signals are the node's business
        builder.Services.AddSingleton<IFatalErrorHandler>(new FatalErrors(fatal));
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = lease / 2);
        builder.UseOrleans(silo =>
        {
            silo.Configure<ClusterOptions>(o => (o.ClusterId, o.ServiceId) = (cluster, ServiceId));
            silo.Configure<SiloOptions>(o => o.SiloName = node.GetRequiredService<NodeIdentity>().Id.ToString());
            silo.Configure<ClusterMembershipOptions>(o => SiloTiming.Apply(o, lease));
            silo.Configure<SiloMessagingOptions>(o => o.ResponseTimeout = o.SystemResponseTimeout = SiloTiming.CallTimeout(lease));
            silo.Configure<ConnectionOptions>(o => o.OpenConnectionTimeout = lease / 6);
            // A cached place of a grain that has ended would bring the next one to the same silo, past the directors below.
            silo.Configure<GrainDirectoryOptions>(o => o.CachingStrategy = GrainDirectoryOptions.CachingStrategyType.None);
            var port = settings.Port > 0 ? settings.Port : FreePort(settings.Address);
            silo.ConfigureEndpoints(settings.Address, port, gatewayPort: 0);
            AddTls(silo, settings);
            AddProviders(silo);
            silo.AddPlacementDirector<FairSharePlacement, FairShareDirector>();
            silo.AddPlacementDirector<LeastWorkPlacement, LeastWorkDirector>();
        });
        return builder.Build();
    }

    private static void AddProviders(ISiloBuilder silo)
    {
        silo.Services.AddSingleton<IMembershipTable, MembershipTable>();
        silo.AddReminders();
        silo.Services.AddSingleton<IReminderTable, ReminderTable>();
        silo.Services.AddSingleton<GrainStorage>();
        silo.Services.AddGrainStorage(ProviderConstants.DEFAULT_STORAGE_PROVIDER_NAME, (p, _) => p.GetRequiredService<GrainStorage>());
    }

    private static void AddTls(ISiloBuilder silo, SiloSettings settings)
    {
        if (settings.Tls is not { } tls)
            return;
        var believed = tls.MakeValidation();
        silo.UseTls(tls.LoadCertificate(), o =>
        {
            o.RemoteCertificateMode = o.ClientCertificateMode = RemoteCertificateMode.RequireCertificate;
            o.RemoteCertificateValidation = (certificate, _, _) => believed(certificate);
            o.OnAuthenticateAsClient = (_, options) => options.TargetHost = ServiceId; // only shown: who is believed is decided above
        });
    }

    /// <summary>Instances, not types: the silo must not dispose of them.</summary>
    private static void Share(IServiceCollection silo, IServiceProvider node)
    {
        silo.Replace(ServiceDescriptor.Singleton(node.GetRequiredService<ILoggerFactory>()));
        silo.AddSingleton(node.GetRequiredService<Database>());
        silo.AddSingleton(node.GetRequiredService<NodeIdentity>());
        silo.AddSingleton(node.GetRequiredService<LeaseStore>());
        silo.AddSingleton(node.GetRequiredService<LocalLeases>());
        silo.AddSingleton(node.GetRequiredService<OfferedJobs>());
        silo.AddSingleton(node.GetRequiredService<NodeJobStore>());
        silo.AddSingleton(node.GetRequiredService<FeedMatrixProgress>());
        silo.TryAddSingleton(TimeProvider.System);
        silo.AddSingleton<DeviceActivity>();
    }

    private static int FreePort(IPAddress address)
    {
        using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(address, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Orleans' own handler ends the process; a silo that is out of the cluster is no reason to stop a node.</summary>
    private sealed class FatalErrors(Action<string> fatal) : IFatalErrorHandler
    {
        public bool IsUnexpected(Exception exception) => true;

        public void OnFatalException(object? sender = null, string? context = null, Exception? exception = null) => fatal($"{context} {exception?.Message}".Trim());
    }
}
