using System.CommandLine;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using AgileQuant.Orchestrator.Contracts;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>up, down, node, status, version.</summary>
internal static class NodeCommands
{
    public static Command Up()
    {
        var command = BenchCommand.Make("up",
            "Starts a node with the dashboard in the background, waits until it answers, and prints a one-time sign-in link. "
            + "It listens on loopback only; from another machine use ssh -L 8580:127.0.0.1:8580. "
            + "Called again it prints a new link.", "bench up --port 8580");
        var foreground = new Option<bool>("--foreground") { Description = "Stay in this terminal, for instance under systemd." };
        var port = PortOption();
        var options = new NodeOptions();
        command.Add(foreground);
        command.Add(port);
        options.AddTo(command);
        command.Handle(async (parse, io, ct) =>
        {
            var settings = options.Read(parse, io.Home, dashboard: true, parse.GetValue(port));
            if (!parse.GetValue(foreground))
                return await UpAsync(io, settings, ct);
            await NodeHost.RunAsync(settings, info =>
                io.Say($"node {info.Version} serves {info.DashboardUrl}; `bench up` in another terminal prints a sign-in link"), ct);
            return 0;
        });
        return command;
    }

    public static Command Down()
    {
        var command = BenchCommand.Make("down",
            "Stops the local node. What runs on boards goes on; the next node picks it up.", "bench down");
        command.Handle(async (_, io, ct) =>
        {
            var ended = await NodeStopper.StopAsync(io.Home, io.Note, ct);
            io.Result(new { stopped = ended is not NodeEnd.NoneRan, leftovers = ended is NodeEnd.LeftoversStopped }, _ => io.Say(ended switch
            {
                NodeEnd.Stopped => "stopped",
                NodeEnd.LeftoversStopped => "no node runs here; stopped what one had left behind (Postgres, boards of this machine)",
                _ => "no node runs here",
            }));
            return 0;
        });
        return command;
    }

    public static Command Node()
    {
        var command = BenchCommand.Make("node",
            "Runs a node without dashboard in this terminal. Nodes that share a database share the boards; each needs a BENCH_HOME of its own.",
            "BENCH_DATABASE='Host=db;Username=bench;Database=bench' bench node --node-name lab-2");
        var options = new NodeOptions();
        options.AddTo(command);
        command.Handle(async (parse, io, ct) =>
        {
            var settings = options.Read(parse, io.Home, dashboard: false, 0);
            await NodeHost.RunAsync(settings, info => io.Say($"node {info.Version} serves {io.Home.Socket}"), ct);
            return 0;
        });
        command.Add(List());
        return command;
    }

    private static Command List()
    {
        var command = BenchCommand.Make("list", "Shows the nodes of the cluster: who is alive, and who drives and packs what.", "bench node list --json");
        command.Handle(async (_, io, ct) =>
        {
            using var client = await io.ConnectAsync(ct);
            var status = await client.StatusAsync(ct);
            io.Result(status.Nodes, nodes => io.Out.Write(Draw(nodes)));
            return 0;
        });
        return command;
    }

    public static Command Status()
    {
        var command = BenchCommand.Make("status", "Shows the local node and the cluster it belongs to. Starts nothing.", "bench status --json");
        command.Handle(async (_, io, ct) =>
        {
            if (await NodeLauncher.TryReachAsync(io.Home, ct) is not { } info)
            {
                var held = NodeLock.IsHeld(io.Home);
                io.Result(new { running = false }, _ => io.Say(held
                    ? $"a node holds {io.Home.Folder} but does not answer; its log is {io.Home.NodeLog}"
                    : $"no node runs for {io.Home.Folder}; `bench up` starts one"));
                return held ? 1 : 0;
            }

            using var client = new BenchClient(io.Home);
            var status = await client.StatusAsync(ct);
            io.Result(new { running = true, node = info, cluster = status, home = io.Home.Folder, log = io.Home.NodeLog }, _ => Draw(io, info, status));
            return 0;
        });
        return command;
    }

    public static Command Version()
    {
        var command = BenchCommand.Make("version", "Shows the version, which transports and clusters are built in, and which a node would use.", "bench version");
        command.Handle((_, io, _) =>
        {
            var transports = new { builtIn = Transports.BuiltIn.Select(t => t.Name), use = Transports.Choose(null).Name };
            var clusters = new { builtIn = Clusters.BuiltIn.Select(c => c.Name), use = Clusters.Choose(null).Name };
            io.Result(new { name = Product.Name, version = Product.Version, transports, clusters }, v =>
            {
                io.Say($"{v.name} {v.version}");
                io.Say($"transports  {string.Join(", ", transports.builtIn)}; a node uses {transports.use}");
                io.Say($"clusters    {string.Join(", ", clusters.builtIn)}; a node uses {clusters.use}");
            });
            return Task.FromResult(0);
        });
        return command;
    }

    /// <summary>Where the dashboard is and how to get in.</summary>
    internal static async Task ShowLinkAsync(CliIo io, NodeInfo info, CancellationToken ct)
    {
        using var client = new BenchClient(io.Home);
        var link = await client.CreateSignInLinkAsync(ct);
        io.Result(new { node = info, link }, _ =>
        {
            io.Say($"dashboard  {info.DashboardUrl ?? "none: this node is headless"}");
            if (link.Url is not null)
                io.Say($"sign in    {link.Url}\n           works once, until {link.ExpiresAt.ToLocalTime():HH:mm}");
        });
    }

    private static async Task<int> UpAsync(CliIo io, NodeSettings settings, CancellationToken ct)
    {
        var info = await NodeLauncher.TryReachAsync(io.Home, ct);
        if (info is not null)
        {
            io.Note($"the node runs already (process {info.Pid})");
        }
        else if (NodeLock.IsHeld(io.Home))
        {
            using (await io.ConnectAsync(ct)) // waits for the one that is starting
            {
                info = NodeHost.ReadInfo(io.Home);
            }
        }
        else
        {
            io.Note($"starting the node; its state is in {io.Home.Folder}");
            info = await NodeLauncher.StartAsync(settings, ct);
        }

        await ShowLinkAsync(io, info!, ct);
        return 0;
    }

    private static void Draw(CliIo io, NodeInfo info, StatusView status)
    {
        io.Say($"node        {info.Version}, process {info.Pid}, since {info.StartedAt.ToLocalTime():yyyy-MM-dd HH:mm}");
        io.Say($"dashboard   {info.DashboardUrl ?? "none"}");
        io.Say($"home        {io.Home.Folder}");
        io.Say($"log         {io.Home.NodeLog}");
        io.Say($"database    {status.Database}");
        io.Say($"cluster     {status.ClusterId}");
        io.Say($"ownership   {status.Ownership}");
        io.Say($"transport   {status.Transport}");
        io.Out.Write(Draw(status.Nodes));
        if (info.Database is { } database)
            io.Say($"another node on this machine: BENCH_HOME=<a new folder> BENCH_DATABASE='{database}' bench node");
    }

    private static Spectre.Console.Table Draw(IReadOnlyList<NodeView> nodes)
    {
        var table = Tables.New("Node", "Host", "Version", "Alive", "Since", "Ownership", "Transport", "Drives", "Works on");
        foreach (var node in nodes)
        {
            table.AddRow(Tables.Cells(
                node.Name, node.Host, node.Version, node.Alive ? "yes" : "no", Tables.Time(node.StartedAt), node.Ownership, node.Transport,
                string.Join(", ", node.Devices), string.Join(", ", node.Work)));
        }

        return table;
    }

    private static Option<int> PortOption()
    {
        var port = new Option<int>("--port")
        {
            Description = "Port of the dashboard on 127.0.0.1; the next free one is taken when it is in use.",
            DefaultValueFactory = _ => NodeSettings.DefaultPort,
        };
        port.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 65535)
                result.AddError("--port must be from 1 to 65535");
        });
        return port;
    }
}
