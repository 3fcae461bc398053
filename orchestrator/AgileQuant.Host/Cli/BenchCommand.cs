using System.CommandLine;
using System.CommandLine.Help;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Cli;

/// <summary>The command line: <c>bench …</c>. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.</summary>
public static class BenchCommand
{
    internal const int Usage = 2;
    private const int Interrupted = 130;

    /// <summary>After a signal a node hands its boards over and stops its Postgres; cut off, both would be left behind.</summary>
    private static readonly TimeSpan NodeEnd = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan CommandEnd = TimeSpan.FromSeconds(2);

    internal static Option<bool> Json { get; } = new("--json")
    {
        Description = "Write the result as JSON, for scripts.",
        Recursive = true,
    };

    public static async Task<int> RunAsync(IReadOnlyList<string> args)
    {
        var parsed = Create().Parse(args.Count == 0 ? ["--help"] : args);
        if (parsed.Errors.Count > 0)
        {
            foreach (var error in parsed.Errors)
                await Console.Error.WriteLineAsync($"error: {error.Message}");
            await Console.Error.WriteLineAsync($"`{CommandPath(parsed.CommandResult)} --help` shows how it is used");
            return Usage;
        }

        return await parsed.InvokeAsync(new InvocationConfiguration
        {
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = parsed.CommandResult.Command.Name is "up" or "node" ? NodeEnd : CommandEnd,
        });
    }

    internal static Command Create()
    {
        var help = new HelpOption { Recursive = true };
        help.Action = new HelpWithExample((HelpAction)help.Action!);
        return Create(help);
    }

    private static Command Create(HelpOption help) => new("bench", "Benchmarks quantized language models on edge boards over SSH.")
    {
        Json,
        help,
        DemoCommand.Create(),
        NodeCommands.Up(),
        NodeCommands.Down(),
        NodeCommands.Node(),
        NodeCommands.Status(),
        NodeCommands.Version(),
        DeviceCommands.Create(),
        ModelCommands.Create(),
        DatasetCommands.Create(),
        EngineCommands.Create(),
        MatrixCommands.Create(),
        ReportCommand.Create(),
        PerfCommands.Create(),
        QuantizeCommand.Create(),
        AblateCommand.Create(),
        FuzzCommand.Create(),
    };

    /// <summary>A command whose help ends with an example.</summary>
    internal static Command Make(string name, string description, string example) =>
        new ExampleCommand(name, description, example);

    /// <summary>Runs the body with its console; errors for people become a line on standard error and exit code 1.</summary>
    internal static void Handle(this Command command, Func<ParseResult, CliIo, CancellationToken, Task<int>> body) =>
        command.SetAction(async (parse, ct) =>
        {
            var io = new CliIo(parse.GetValue(Json));
            try
            {
                return await body(parse, io, ct);
            }
            catch (OperationCanceledException) when (ct.IsCancellationRequested)
            {
                io.Note("interrupted");
                return Interrupted;
            }
            catch (Exception e) when (CliErrors.Explain(e) is { } words)
            {
                io.Note($"error: {words}");
                return 1;
            }
        });

    /// <summary>The same for a command that talks to the local node.</summary>
    internal static void HandleWithNode(this Command command, Func<ParseResult, CliIo, BenchClient, CancellationToken, Task<int>> body) =>
        command.Handle(async (parse, io, ct) =>
        {
            using var client = await io.ConnectAsync(ct);
            return await body(parse, io, client, ct);
        });

    private static string CommandPath(System.CommandLine.Parsing.CommandResult result)
    {
        var names = new List<string>();
        for (System.CommandLine.Parsing.SymbolResult? at = result; at is not null; at = at.Parent)
        {
            if (at is System.CommandLine.Parsing.CommandResult command)
                names.Insert(0, command.Command.Name);
        }

        return string.Join(' ', names);
    }

    private sealed class ExampleCommand(string name, string description, string example) : Command(name, description)
    {
        public string Example => example;
    }

    private sealed class HelpWithExample(HelpAction help) : System.CommandLine.Invocation.SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            var exit = help.Invoke(parseResult);
            if (parseResult.CommandResult.Command is ExampleCommand command)
                parseResult.InvocationConfiguration.Output.WriteLine($"Example:\n  {command.Example}\n");
            return exit;
        }
    }
}
