using System.Diagnostics;
using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Demo;

/// <summary><c>bench demo</c>: boards, models and text, a matrix, the comparison.</summary>
internal static class DemoRunner
{
    public static async Task<int> RunAsync(CliIo io, bool again, CancellationToken ct)
    {
        using var client = await io.ConnectAsync(ct);
        var devices = await PrepareAsync(io, client, ct);
        var (view, elapsed) = await MeasureAsync(io, client, DemoPlan.Spec(devices), again, ct);
        io.Result(view, v => MatrixTable.Draw(io, v));
        await SaveAsync(io, client, view, ct);
        if (elapsed is { } took)
            io.Note($"measured in {took.TotalSeconds:0} s");
        if (!io.Json && NodeHost.ReadInfo(io.Home) is { } info)
            await NodeCommands.ShowLinkAsync(io, info, ct);
        return view.Summary.State == MatrixState.Complete ? 0 : 1;
    }

    private static async Task<List<string>> PrepareAsync(CliIo io, BenchClient client, CancellationToken ct)
    {
        var assets = new DemoAssets(io, client);
        await assets.EngineAsync("linux-x64", required: true, ct);
        var devices = new DemoDevices(io, client);
        var names = new List<string> { await devices.ThisMachineAsync(ct) };
        if (await assets.EngineAsync("linux-arm64", required: false, ct) && await devices.EmulatedArmAsync(ct) is { } emulated)
            names.Add(emulated);
        await assets.QualityModelAsync(ct);
        await assets.SpeedModelAsync(ct);
        await assets.DatasetAsync(ct);
        return names;
    }

    /// <summary>Follows the demo matrix that runs, reuses a complete one, or starts a new one.</summary>
    private static async Task<(MatrixView View, TimeSpan? Elapsed)> MeasureAsync(
        CliIo io, BenchClient client, MatrixSpec spec, bool again, CancellationToken ct)
    {
        var (id, reused) = await FindAsync(client, spec, again, ct);
        if (id is not null && reused is { State: MatrixState.Complete })
        {
            io.Note($"reused   results of {Tables.Time(reused.FinishedAt ?? reused.CreatedAt)}; `bench demo --again` measures anew");
            return (await client.GetMatrixAsync(id, ct), null);
        }

        if (id is null)
        {
            MatrixCommands.Describe(io.Note, spec, await client.PlanMatrixAsync(spec, ct));
            id = (await client.StartMatrixAsync(spec, ct)).ToString();
        }
        else
        {
            io.Note($"matrix {id[..8]} runs already: following it");
        }

        var watch = Stopwatch.StartNew();
        try
        {
            return (await MatrixProgress.FollowAsync(io, client, id, ct), watch.Elapsed);
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            io.Note($"left running; `bench demo` or `bench matrix watch {id[..8]}` follows it again");
            throw;
        }
    }

    private static async Task<(string? Id, MatrixSummaryView? Summary)> FindAsync(
        BenchClient client, MatrixSpec spec, bool again, CancellationToken ct)
    {
        foreach (var summary in (await client.ListMatricesAsync(ct)).Where(m => m.Name == DemoPlan.Matrix))
        {
            var usable = summary.State == MatrixState.Running || (summary.State == MatrixState.Complete && !again);
            if (usable && DemoPlan.IsSame((await client.GetMatrixAsync(summary.Id.ToString(), ct)).Spec, spec))
                return (summary.Id.ToString(), summary);
        }

        return (null, null);
    }

    private static async Task SaveAsync(CliIo io, BenchClient client, MatrixView view, CancellationToken ct)
    {
        foreach (var format in ReportCommand.Formats)
        {
            var report = await client.GetReportAsync(view.Summary.Id.ToString(), format, ct);
            var file = Path.Combine(io.Home.ReportFolder, $"demo.{format}");
            await File.WriteAllBytesAsync(file, report.Content, ct);
            io.Say($"report     {file}");
        }
    }
}
