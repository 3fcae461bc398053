using System.CommandLine;
using AgileQuant.Engine;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Reports;

namespace AgileQuant.Host.Cli;

/// <summary>model outliers: what makes model files from model files, without a node.</summary>
internal static class ModelFileCommands
{
    /// <summary>The made file.</summary>
    /// <param name="Channels">Outlier channels, ascending.</param>
    internal sealed record OutlierFile(string Path, string Sha256, long Bytes, int Factor, IReadOnlyList<int> Channels);

    public static Command Outliers()
    {
        var command = BenchCommand.Make("outliers",
            "Writes a variant of a model with outlier channels: some channels of each block's norms times a power of two, the columns that read "
            + "them divided by it. In fp32 it computes the same; it is harder to quantize, as large models are.",
            "bench model outliers infra/samples/docs-llama docs-llama-outliers.gguf");
        var source = new Argument<string>("model") { Description = "A Hugging Face folder or a .gguf file." };
        var target = new Argument<string>("out") { Description = "The .gguf file to write; all tensors F32." };
        var defaults = new OutlierVariant();
        var channels = new Option<int>("--channels") { Description = "How many channels.", DefaultValueFactory = _ => defaults.Channels };
        var factor = new Option<int>("--factor") { Description = "A power of two.", DefaultValueFactory = _ => defaults.Factor };
        var seed = new Option<int>("--seed") { Description = "Chooses the channels.", DefaultValueFactory = _ => defaults.Seed };
        command.Add(source);
        command.Add(target);
        command.Add(channels);
        command.Add(factor);
        command.Add(seed);
        command.Handle(async (parse, io, ct) =>
        {
            var variant = new OutlierVariant { Channels = parse.GetValue(channels), Factor = parse.GetValue(factor), Seed = parse.GetValue(seed) };
            var (from, to) = (Path.GetFullPath(parse.GetValue(source)!), Path.GetFullPath(parse.GetValue(target)!));
            var made = await MakeAsync(io, variant, from, to, ct);
            io.Result(made, m => io.Say(
                $"{m.Path}: {Figures.Bytes(m.Bytes)}, sha256 {m.Sha256}, channels {string.Join(' ', m.Channels)} times {m.Factor}; "
                + "`bench model import` takes it"));
            return 0;
        });
        return command;
    }

    /// <summary>Imports to a temporary file first: what is changed is the canonical form, whatever the source's.</summary>
    private static async Task<OutlierFile> MakeAsync(CliIo io, OutlierVariant variant, string source, string target, CancellationToken ct)
    {
        var canonical = $"{target}.{Guid.NewGuid():N}.import";
        try
        {
            await TensorProgress.ShowAsync(io, "importing", p => Task.Run(() => ModelImporter.Import(source, canonical, p, ct), ct));
            var (sha256, bytes, chosen) = await TensorProgress.ShowAsync(io, "writing", p => Task.Run(() => variant.Write(canonical, target, p, ct), ct));
            return new OutlierFile(target, sha256, bytes, variant.Factor, chosen);
        }
        catch (Exception e) when (e is ModelFormatException or ArgumentException)
        {
            throw new BenchException(e.Message, e);
        }
        finally
        {
            File.Delete(canonical);
        }
    }
}
