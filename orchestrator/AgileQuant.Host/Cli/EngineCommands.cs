using System.CommandLine;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>engine build, add, list.</summary>
internal static class EngineCommands
{
    public static Command Create() => new("engine", "Builds and lists the engine binaries that run on boards.") { Build(), Add(), List() };

    private static Command Build()
    {
        var command = BenchCommand.Make("build", "Builds the engine for a target from the source tree and makes it the current one.",
            "bench engine build --target linux-arm64");
        var target = new Option<string>("--target") { Description = "linux-x64 or linux-arm64.", Required = true };
        target.AcceptOnlyFromAmong([.. NativeEngine.Targets]);
        command.Add(target);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var file = await NativeEngine.BuildAsync(parse.GetValue(target)!, io.Note, ct);
            io.Result(await client.AddEngineAsync(file, ct), e => Draw(io, [e]));
            return 0;
        });
        return command;
    }

    private static Command Add()
    {
        var command = BenchCommand.Make("add", "Adds an engine binary built elsewhere and makes it the current one of its target.", "bench engine add ./aqengine-linux-arm64");
        var path = new Argument<string>("file") { Description = "The binary." };
        command.Add(path);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var file = Path.GetFullPath(parse.GetValue(path)!);
            if (!File.Exists(file))
                throw new BenchException($"there is no file {file}");
            io.Result(await client.AddEngineAsync(file, ct), e => Draw(io, [e]));
            return 0;
        });
        return command;
    }

    private static Command List()
    {
        var command = BenchCommand.Make("list", "Lists the engine binaries.", "bench engine list");
        command.HandleWithNode(async (_, io, client, ct) =>
        {
            io.Result(await client.ListEnginesAsync(ct), engines =>
            {
                if (engines.Count == 0)
                    io.Say("no engines yet; `bench engine build --target linux-x64` makes one");
                else
                    Draw(io, engines);
            });
            return 0;
        });
        return command;
    }

    private static void Draw(CliIo io, IReadOnlyList<EngineView> engines)
    {
        var table = Tables.New("Target", "Version", "Build", "Current", "Size", "SHA-256");
        foreach (var e in engines)
            table.AddRow(Tables.Cells(e.Target, e.Version, e.Build, e.Current ? "yes" : "no", Figures.Bytes(e.Bytes), e.Sha256));
        io.Out.Write(table);
    }
}
