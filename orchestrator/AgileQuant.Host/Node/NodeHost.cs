using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using AgileQuant.Dashboard;
using AgileQuant.Host.Api;
using AgileQuant.Infra.Postgres;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.DataProtection;

namespace AgileQuant.Host.Node;

/// <summary>One node: application services, drivers, REST API on a Unix socket, and the dashboard on loopback.</summary>
public static class NodeHost
{
    /// <summary>Runs until stopped by a signal or by <c>bench down</c>. <paramref name="started"/> is called once it serves.</summary>
    public static async Task RunAsync(NodeSettings settings, Action<NodeInfo>? started = null, CancellationToken ct = default)
    {
        settings.Home.Create();
        using var held = await NodeLock.TakeAsync(settings.Home, ct);
        File.Delete(settings.Home.NodeFile);
        File.Delete(settings.Home.Socket); // stale: nobody but the holder of the lock listens on it
        await using var postgres = settings.Database is null ? await StartPostgresAsync(settings.Home, ct) : null;
        var port = settings.Dashboard ? FindFreePort(settings.Port) : (int?)null;
        await using var app = Build(settings, postgres, port);
        await app.StartAsync(ct);
        File.SetUnixFileMode(settings.Home.Socket, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var info = new NodeInfo(
            Environment.ProcessId, Product.Version, port is null ? null : $"http://127.0.0.1:{port}", DateTimeOffset.UtcNow,
            postgres?.ConnectionString);
        WriteInfo(settings.Home, info);
        started?.Invoke(info);
        await app.WaitForShutdownAsync(ct);
        File.Delete(settings.Home.NodeFile);
    }

    /// <summary>Builds the web application without starting it.</summary>
    private static WebApplication Build(NodeSettings settings, EmbeddedPostgres? postgres, int? port)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions
        {
            ApplicationName = typeof(NodeHost).Assembly.GetName().Name,
            ContentRootPath = AppContext.BaseDirectory,
            EnvironmentName = Environments.Production,
        });
        builder.Configuration["AllowedHosts"] = "localhost;127.0.0.1;[::1]"; // a page of another site cannot reach us by a name it controls
        builder.Logging.ClearProviders().AddSimpleConsole(o =>
        {
            o.SingleLine = true;
            o.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";
            o.UseUtcTimestamp = true;
        });
        builder.Logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        builder.Logging.AddFilter("Orleans", LogLevel.Warning);
        builder.WebHost.ConfigureKestrel(kestrel => LocalSocket.Listen(kestrel, settings.Home.Socket, port));
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(20));
        NodeServices.Add(builder.Services, settings, postgres?.ConnectionString ?? settings.Database!, DatabaseDescription(postgres));
        builder.Services.AddDataProtection().SetApplicationName("agilequant-bench")
            .PersistKeysToFileSystem(new DirectoryInfo(settings.Home.KeyFolder));
        RestApi.AddServices(builder.Services);
        if (port is not null)
            builder.Services.AddAgileQuantDashboard();
        var app = builder.Build();
        app.UseExceptionHandler();
        app.UseMiddleware<ApiGate>();
        if (port is not null)
            app.MapAgileQuantDashboard();
        RestApi.Map(app);
        return app;
    }

    /// <summary>The running node's own words about itself; null when there is none.</summary>
    public static NodeInfo? ReadInfo(BenchHome home)
    {
        try
        {
            return JsonSerializer.Deserialize<NodeInfo>(File.ReadAllText(home.NodeFile), ApiJson.Options);
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string DatabaseDescription(EmbeddedPostgres? postgres) =>
        postgres is null ? "Postgres by connection string" : $"embedded Postgres {postgres.MajorVersion}";

    private static async Task<EmbeddedPostgres> StartPostgresAsync(BenchHome home, CancellationToken ct)
    {
        try
        {
            return await EmbeddedPostgres.StartAsync(home.PostgresFolder, cancellation: ct);
        }
        catch (EmbeddedPostgresException e)
        {
            throw new UserErrorException(e.Message, e);
        }
    }

    private static void WriteInfo(BenchHome home, NodeInfo info)
    {
        var temporary = home.NodeFile + ".tmp";
        File.WriteAllBytes(temporary, JsonSerializer.SerializeToUtf8Bytes(info, ApiJson.Options));
        File.Move(temporary, home.NodeFile, overwrite: true);
    }

    private static int FindFreePort(int first)
    {
        for (var port = first; port < first + NodeSettings.PortsTried && port <= IPEndPoint.MaxPort; port++)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException)
            {
                // in use: the next one
            }
        }

        throw new UserErrorException($"no free port from {first} to {first + NodeSettings.PortsTried - 1}; choose another with --port");
    }
}
