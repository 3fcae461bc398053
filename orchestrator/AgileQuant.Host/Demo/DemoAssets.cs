using System.Security.Cryptography;
using AgileQuant.Engine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Demo;

/// <summary>Brings in what the demo needs and says what was there already.</summary>
internal sealed class DemoAssets(CliIo io, BenchClient client)
{
    /// <summary>
    /// The engine for a target, built from the sources as they are now (that takes no time when nothing changed). Where it cannot
    /// be built, one that is there already. False: there is none (<paramref name="required"/>: an error).
    /// </summary>
    public async Task<bool> EngineAsync(string target, bool required, CancellationToken ct)
    {
        var current = (await client.ListEnginesAsync(ct)).FirstOrDefault(e => e.Target == target && e.Current);
        try
        {
            var file = await BuiltAsync(target, current is not null, ct);
            if (current is not null && current.Sha256 == await Sha256Async(file, ct))
            {
                Reused($"engine for {target}");
                return true;
            }

            var engine = await client.AddEngineAsync(file, ct);
            io.Note($"added    engine {engine.Version} for {target}");
            return true;
        }
        catch (BenchException e) when (current is not null || !required)
        {
            io.Note(current is not null ? $"reused   engine for {target}, not built anew: {e.Message}" : $"without  engine for {target}: {e.Message}");
            return current is not null;
        }
    }

    /// <summary>SHA-256 of the current engine by target: what would measure now.</summary>
    public async Task<IReadOnlyDictionary<string, string>> CurrentEnginesAsync(CancellationToken ct) =>
        (await client.ListEnginesAsync(ct)).Where(e => e.Current).ToDictionary(e => e.Target, e => e.Sha256);

    /// <summary>The trained sample models.</summary>
    public async Task QualityModelsAsync(CancellationToken ct)
    {
        foreach (var name in DemoPlan.QualityModels)
        {
            if (await HasModelAsync(name, ct))
                continue;
            var folder = Path.Combine(SourceTree.Require(), "infra", "samples", name);
            var model = await TensorProgress.ShowAsync(io, "importing", p => client.ImportModelAsync(new ImportModelRequest(folder, name), p, ct));
            io.Note($"imported model {name} ({model.Architecture})");
        }
    }

    /// <summary>The random-weight model.</summary>
    public async Task SpeedModelAsync(CancellationToken ct)
    {
        if (await HasModelAsync(DemoPlan.SpeedModel, ct))
            return;
        await TensorProgress.ShowAsync(io, "generating",
            p => client.CreateRandomModelAsync(new RandomModelRequest(DemoPlan.SpeedShape, DemoPlan.SpeedModel), p, ct));
        io.Note($"made     model {DemoPlan.SpeedModel} (random weights: speed only)");
    }

    private static string Hashes => Path.Combine(SourceTree.Require(), "infra", "samples", "heldout.hashes");

    /// <summary>The held-out text and one to calibrate on, rebuilt from this machine's .NET SDK.</summary>
    public async Task DatasetsAsync(CancellationToken ct)
    {
        var known = (await client.ListDatasetsAsync(ct)).Select(d => d.Name).ToHashSet();
        if (known.Contains(DemoPlan.Calibration))
        {
            Reused($"dataset {DemoPlan.Calibration}");
        }
        else
        {
            var sample = await Task.Run(() => CalibrationSample.Build(Hashes), ct);
            await ImportTextAsync(DemoPlan.Calibration, sample.Text, ct);
            io.Note($"imported dataset {DemoPlan.Calibration}: {sample.Sentences} other sentences of the .NET SDK's documentation, to calibrate on");
        }

        if (known.Contains(DemoPlan.Dataset))
        {
            Reused($"dataset {DemoPlan.Dataset}");
            return;
        }

        var text = await Task.Run(() => HeldOutText.Rebuild(Hashes), ct);
        await ImportTextAsync(DemoPlan.Dataset, text.Text, ct);
        io.Note($"imported dataset {DemoPlan.Dataset}: {text.Found} sentences of the .NET SDK's documentation"
            + (text.Missing == 0 ? "" : $"; {text.Missing} are missing in this SDK version, so figures differ a little from the model card's"));
    }

    private async Task ImportTextAsync(string name, string text, CancellationToken ct)
    {
        Directory.CreateDirectory(io.Home.DemoFolder);
        var file = Path.Combine(io.Home.DemoFolder, name + ".txt");
        await File.WriteAllTextAsync(file, text, ct);
        await client.ImportDatasetAsync(new ImportDatasetRequest(file, name), ct);
    }

    private async Task<string> BuiltAsync(string target, bool added, CancellationToken ct)
    {
        try
        {
            return await NativeEngine.BuildAsync(target, io.Note, ct);
        }
        catch (BenchException e) when (!added && NativeEngine.FindBuilt(target) is not null)
        {
            io.Note($"the engine for {target} is an earlier build: {e.Message}");
            return NativeEngine.FindBuilt(target)!;
        }
    }

    internal void Reused(string what) => io.Note($"reused   {what}");

    private async Task<bool> HasModelAsync(string name, CancellationToken ct)
    {
        if (!(await client.ListModelsAsync(ct)).Any(m => m.Name == name))
            return false;
        Reused($"model {name}");
        return true;
    }

    private static async Task<string> Sha256Async(string file, CancellationToken ct)
    {
        await using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, ct));
    }
}
