using System.CommandLine;
using AgileQuant.Engine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Reports;

namespace AgileQuant.Host.Cli;

/// <summary>model random: a model of a known shape, into the node's store or into a file.</summary>
internal static class RandomModelCommand
{
    public static Command Create()
    {
        var command = BenchCommand.Make("random", "Generates a random-weight model of a known shape: for speed only, it has no perplexity.",
            "bench model random tinyllama-1.1b --file tinyllama-f16.gguf");
        var shape = new Argument<string>("shape") { Description = $"One of {string.Join(", ", RandomModelShape.Presets.Keys)}." };
        var name = new Option<string?>("--name") { Description = "Keep it in the local node, under this name." };
        var file = new Option<string?>("--file") { Description = "Write it to this .gguf file (F16) instead; llama-quantize and llama-bench of llama.cpp take it." };
        var seed = new Option<int>("--seed") { Description = "The same seed gives the same weights.", DefaultValueFactory = _ => 1 };
        command.Add(shape);
        command.Add(name);
        command.Add(file);
        command.Add(seed);
        command.Validators.Add(result =>
        {
            if (result.GetValue(name) is null == result.GetValue(file) is null)
                result.AddError("give --name NAME, for the local node, or --file FILE");
        });
        command.Handle(async (parse, io, ct) =>
        {
            var (preset, number) = (parse.GetValue(shape)!, parse.GetValue(seed));
            if (parse.GetValue(file) is { } path)
            {
                var made = await TensorProgress.ShowAsync(io, "generating", p => Task.Run(() => Write(preset, number, Path.GetFullPath(path), p, ct), ct));
                io.Result(made, m => io.Say($"{path}: {m.Parameters / 1e6:0.#} M parameters, {Figures.Bytes(m.Bytes)}, sha256 {m.Sha256}"));
                return 0;
            }

            using var client = await io.ConnectAsync(ct);
            var request = new RandomModelRequest(preset, parse.GetValue(name)!, number);
            var model = await TensorProgress.ShowAsync(io, "generating", p => client.CreateRandomModelAsync(request, p, ct));
            io.Result(model, m => ModelCommands.Draw(io, [m]));
            return 0;
        });
        return command;
    }

    private static ModelSummary Write(string preset, int seed, string path, IProgress<ModelProgress> progress, CancellationToken ct)
    {
        if (!RandomModelShape.Presets.TryGetValue(preset, out var shape))
            throw new BenchException($"there is no shape '{preset}': use one of {string.Join(", ", RandomModelShape.Presets.Keys)}");
        var folder = Path.GetDirectoryName(path)!;
        if (Directory.Exists(folder)
            && DiskRoom.Problem($"the shape {preset}", RandomModel.Measure(shape).Bytes, new DriveInfo(folder).AvailableFreeSpace, folder) is { } problem)
        {
            throw new BenchException(problem);
        }

        return RandomModel.Write(path, shape, seed, progress, ct);
    }
}
