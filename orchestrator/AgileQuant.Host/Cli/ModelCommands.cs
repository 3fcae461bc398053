using System.CommandLine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Reports;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>model import, random, outliers, list, show.</summary>
internal static class ModelCommands
{
    public static Command Create() =>
        new("model", "Imports and lists models.") { Import(), RandomModelCommand.Create(), ModelFileCommands.Outliers(), List(), Show() };

    private static Command Import()
    {
        var command = BenchCommand.Make("import", "Imports a Hugging Face folder or a .gguf file.", "bench model import ~/models/TinyLlama-1.1B --name tinyllama");
        var path = new Argument<string>("path") { Description = "Folder with config.json and weights, or a .gguf file." };
        var name = NameOption();
        command.Add(path);
        command.Add(name);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var request = new ImportModelRequest(Path.GetFullPath(parse.GetValue(path)!), parse.GetValue(name)!);
            var model = await TensorProgress.ShowAsync(io, "importing", p => client.ImportModelAsync(request, p, ct));
            io.Result(model, m => Draw(io, [m]));
            return 0;
        });
        return command;
    }

    private static Command List()
    {
        var command = BenchCommand.Make("list", "Lists the models and their packs.", "bench model list");
        command.HandleWithNode(async (_, io, client, ct) =>
        {
            io.Result(await client.ListModelsAsync(ct), models =>
            {
                if (models.Count == 0)
                    io.Say("no models yet; `bench model import PATH --name NAME` brings one in");
                else
                    Draw(io, models);
            });
            return 0;
        });
        return command;
    }

    private static Command Show()
    {
        var command = BenchCommand.Make("show", "Shows a model: its architecture, and each pack's recipe with the text it was calibrated on.", "bench model show tinyllama");
        var name = new Argument<string>("name") { Description = "The model's name." };
        command.Add(name);
        command.HandleWithNode(async (parse, io, client, ct) =>
        {
            var wanted = parse.GetValue(name)!;
            var model = (await client.ListModelsAsync(ct)).FirstOrDefault(m => m.Name == wanted)
                ?? throw new BenchException($"there is no model '{wanted}'; `bench model list` shows them");
            io.Result(model, m =>
            {
                Draw(io, [m]);
                var table = Tables.New("Precision", "State", "Size", "Recipe", "Calibrated on", "SHA-256");
                foreach (var p in m.Packs)
                {
                    table.AddRow(Tables.Cells(p.Precision, p.Reason is null ? p.State : $"{p.State}: {p.Reason}", Figures.Bytes(p.Bytes), p.Recipe,
                        p.Calibration?.Describe() ?? "–", p.Sha256 ?? "–"));
                }

                if (m.Packs.Count > 0)
                    io.Out.Write(table);
            });
            return 0;
        });
        return command;
    }

    /// <summary>Shows the share that is done: a bar on a terminal, whole tens of percent otherwise.</summary>
    internal static async Task<T> WithProgressAsync<T>(CliIo io, string what, Func<IProgress<double>, Task<T>> work)
    {
        if (!io.HasBars)
            return await work(new Tens(io, what));
        return await io.Error.Progress().AutoClear(true).StartAsync(async context =>
        {
            var task = context.AddTask(what, maxValue: 1);
            return await work(new Direct(v => task.Value = v));
        });
    }

    internal static void Draw(CliIo io, IReadOnlyList<ModelView> models)
    {
        var table = Tables.New("Name", "Architecture", "Parameters", "Layers", "Context", "Vocabulary", "Weights", "Size", "Packs");
        foreach (var m in models)
        {
            table.AddRow(Tables.Cells(m.Name, m.Architecture, $"{m.Parameters / 1e6:0.#} M", m.Layers.ToString(), m.ContextLength.ToString(),
                m.VocabularySize.ToString(), m.RandomWeights ? "random: speed only" : "trained", Figures.Bytes(m.Bytes),
                m.Packs.Count == 0 ? "–" : string.Join(", ", m.Packs.Select(p => $"{p.Precision} {p.State}"))));
        }

        io.Out.Write(table);
    }

    internal static Option<string> NameOption() => new("--name") { Description = "How matrices call it.", Required = true };

    private sealed class Tens(CliIo io, string what) : IProgress<double>
    {
        private int _last = -1;

        public void Report(double value)
        {
            var tens = (int)(value * 10);
            if (tens > _last && tens is > 0 and < 10)
                io.Note($"{what}: {tens * 10}%");
            _last = Math.Max(_last, tens);
        }
    }

    private sealed class Direct(Action<double> report) : IProgress<double>
    {
        public void Report(double value) => report(value);
    }
}
