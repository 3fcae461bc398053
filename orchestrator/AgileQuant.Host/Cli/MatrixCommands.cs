using System.CommandLine;
using AgileQuant.Host.Client;
using AgileQuant.Host.Matrix;
using AgileQuant.Orchestrator.Contracts;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>matrix run, list, show, watch, cancel.</summary>
internal static class MatrixCommands
{
    public static Command Create() => new("matrix", "Runs and follows matrices: devices x models x precisions x workloads.")
    {
        Run(), List(), Show(), Watch(), Cancel(),
    };

    private static Command Run()
    {
        var command = BenchCommand.Make("run",
            "Starts the matrix of a YAML file (docs/matrix-file.md) and follows it. Ctrl-C leaves it running.", "bench matrix run pi-shelf.yaml");
        var file = new Argument<string>("file") { Description = "The YAML file; - reads standard input." };
        var detach = new Option<bool>("--detach") { Description = "Start it and return." };
        var plan = new Option<bool>("--plan") { Description = "Only say what it would do." };
        command.Add(file);
        command.Add(detach);
        command.Add(plan);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var spec = await ReadAsync(parse.GetValue(file)!, ct);
            var view = await client.PlanMatrixAsync(spec, ct);
            if (parse.GetValue(plan))
            {
                io.Result(view, v => Describe(io.Say, spec, v));
                return 0;
            }

            Describe(io.Note, spec, view);
            var id = await client.StartMatrixAsync(spec, ct);
            if (parse.GetValue(detach))
            {
                io.Result(new { id }, _ => io.Say($"started {id}; `bench matrix watch {Short(id)}` follows it"));
                return 0;
            }

            return await FollowAsync(io, client, id.ToString(), ct);
        });
        return command;
    }

    private static Command List()
    {
        var command = BenchCommand.Make("list", "Lists the matrices, newest first.", "bench matrix list");
        command.HandleWithNode(async (_, io, client, ct) =>
        {
            io.Result(await client.ListMatricesAsync(ct), matrices =>
            {
                if (matrices.Count == 0)
                {
                    io.Say("no matrices yet; `bench matrix run FILE` starts one");
                    return;
                }

                var table = Tables.New("Id", "Name", "State", "Runs", "Complete", "Skipped", "Failed", "Started", "Finished");
                foreach (var m in matrices)
                {
                    table.AddRow(Tables.Cells(Short(m.Id), m.Name, m.State.ToString().ToLowerInvariant(), m.Runs.ToString(), m.Complete.ToString(),
                        m.Skipped.ToString(), m.Failed.ToString(), Tables.Time(m.CreatedAt), Tables.Time(m.FinishedAt)));
                }

                io.Out.Write(table);
            });
            return 0;
        });
        return command;
    }

    private static Command Show()
    {
        var command = BenchCommand.Make("show", "Shows a matrix with its results so far.", "bench matrix show 0199a2c4");
        var matrix = MatrixArgument();
        command.Add(matrix);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            io.Result(await client.GetMatrixAsync(parse.GetValue(matrix)!, ct), view => MatrixTable.Draw(io, view));
            return 0;
        });
        return command;
    }

    private static Command Watch()
    {
        var command = BenchCommand.Make("watch", "Follows a matrix until it ends. Ctrl-C leaves it running.", "bench matrix watch 0199a2c4");
        var matrix = MatrixArgument();
        command.Add(matrix);
        command.HandleWithNode((parse, io, client, ct) => FollowAsync(io, client, parse.GetValue(matrix)!, ct));
        return command;
    }

    private static Command Cancel()
    {
        var command = BenchCommand.Make("cancel", "Cancels a matrix. Finished results stay.", "bench matrix cancel 0199a2c4");
        var matrix = MatrixArgument();
        command.Add(matrix);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            await client.CancelMatrixAsync(parse.GetValue(matrix)!, ct);
            io.Result(new { requested = true }, _ => io.Say("cancelling; what is finished stays"));
            return 0;
        });
        return command;
    }

    /// <summary>Follows to the end and draws the outcome; 0 when every run is complete or was skipped for a reason known beforehand.</summary>
    internal static async Task<int> FollowAsync(CliIo io, BenchClient client, string matrix, CancellationToken ct)
    {
        try
        {
            var view = await MatrixProgress.FollowAsync(io, client, matrix, ct);
            io.Result(view, v => MatrixTable.Draw(io, v));
            return view.Summary.State == MatrixState.Complete ? 0 : 1;
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            io.Note($"left running; `bench matrix watch {matrix}` follows it again, `bench matrix cancel {matrix}` ends it");
            return 130;
        }
    }

    internal static void Describe(Action<string> say, MatrixSpec spec, MatrixPlanView plan)
    {
        say($"{spec.Name}: {plan.Runs} runs: {plan.TimingJobs} timing jobs, {plan.PerplexityJobs} perplexity jobs, {plan.PackJobs} models to pack");
        foreach (var warning in plan.Warnings)
            say($"note: {warning}");
    }

    /// <summary>How far a matrix is, in a few words.</summary>
    internal static string Counts(MatrixSummaryView s) => $"{s.Complete} of {s.Runs} runs complete{(s.Skipped > 0 ? $", {s.Skipped} skipped" : "")}";

    internal static string Short(Guid id) => id.ToString()[..8];

    private static async Task<MatrixSpec> ReadAsync(string file, CancellationToken ct)
    {
        if (file == "-")
            return MatrixFile.Parse(await Console.In.ReadToEndAsync(ct), "stdin");
        if (!File.Exists(file))
            throw new BenchException($"there is no file {file}; docs/matrix-file.md shows what it holds");
        return MatrixFile.Parse(await File.ReadAllTextAsync(file, ct), Path.GetFileName(file));
    }

    private static Argument<string> MatrixArgument() => new("matrix") { Description = "Id, the start of an id, or a name (the newest of that name)." };
}
