using System.Diagnostics;
using System.Runtime.InteropServices;
using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Demo;

/// <summary><c>bench demo</c>: boards, models and text, a matrix, the comparison.</summary>
internal static class DemoRunner
{
    private const string Arm = "linux-arm64";

    private static string Local => RuntimeInformation.OSArchitecture == Architecture.Arm64 ? Arm : "linux-x64";

    public static async Task<int> RunAsync(CliIo io, bool again, CancellationToken ct)
    {
        using var client = await io.ConnectAsync(ct);
        var devices = await PrepareAsync(io, client, ct);
        var (view, elapsed) = await MeasureAsync(io, client, DemoPlan.Spec(devices, await HasBf16Async(client, devices[0], ct)), again, ct);
        io.Result(view, v => MatrixTable.Draw(io, v));
        await SaveAsync(io, client, view, ct);
        if (elapsed is { } took)
            io.Note($"measured in {took.TotalSeconds:0} s");
        if (!io.Json && NodeHost.ReadInfo(io.Home) is { } info)
            await NodeCommands.ShowLinkAsync(io, info, ct);
        return view.Summary.State == MatrixState.Complete ? 0 : 1;
    }

    private static async Task<bool> HasBf16Async(BenchClient client, string device, CancellationToken ct) =>
        (await client.ListDevicesAsync(ct)).First(d => d.Name == device).SelfTest?.Precisions?.Contains("bf16") == true;

    private static async Task<List<string>> PrepareAsync(CliIo io, BenchClient client, CancellationToken ct)
    {
        var assets = new DemoAssets(io, client);
        await assets.EngineAsync(Local, required: true, ct);
        var devices = new DemoDevices(io, client);
        var names = new List<string> { await devices.ThisMachineAsync(ct) };
        if ((Local == Arm || await assets.EngineAsync(Arm, required: false, ct)) && await devices.EmulatedArmAsync(ct) is { } emulated)
            names.Add(emulated);
        await assets.QualityModelsAsync(ct);
        await assets.SpeedModelAsync(ct);
        await assets.DatasetsAsync(ct);
        return names;
    }

    /// <summary>Follows the demo matrix that runs, reuses a complete one, or starts a new one.</summary>
    private static async Task<(MatrixView View, TimeSpan? Elapsed)> MeasureAsync(
        CliIo io, BenchClient client, MatrixSpec spec, bool again, CancellationToken ct)
    {
        var (id, reused) = await FindAsync(io, client, spec, again, ct);
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
        CliIo io, BenchClient client, MatrixSpec spec, bool again, CancellationToken ct)
    {
        var engines = await new DemoAssets(io, client).CurrentEnginesAsync(ct);
        var targets = (await client.ListDevicesAsync(ct)).ToDictionary(d => d.Id, d => d.Facts?.Target);
        foreach (var summary in (await client.ListMatricesAsync(ct)).Where(m => m.Name == DemoPlan.Matrix))
        {
            var usable = summary.State == MatrixState.Running || (summary.State == MatrixState.Complete && !again);
            if (!usable)
                continue;
            var view = await client.GetMatrixAsync(summary.Id.ToString(), ct);
            if (!DemoPlan.IsSame(view.Spec, spec))
                continue;
            if (DemoPlan.IsSameEngine(await MeasuredByAsync(client, view, targets, ct), engines))
                return (summary.Id.ToString(), summary);
            io.Note($"results of {Tables.Time(summary.FinishedAt ?? summary.CreatedAt)} are of another engine: measuring anew");
            return (null, null);
        }

        return (null, null);
    }

    private static async Task<List<(string? Target, string? Sha256)>> MeasuredByAsync(
        BenchClient client, MatrixView view, Dictionary<Guid, string?> targets, CancellationToken ct)
    {
        var measured = new List<(string? Target, string? Sha256)>();
        foreach (var run in view.Runs)
            measured.Add((targets.GetValueOrDefault(run.DeviceId), (await client.GetRunAsync(run.Id, ct)).Provenance.EngineSha256));
        return measured;
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
