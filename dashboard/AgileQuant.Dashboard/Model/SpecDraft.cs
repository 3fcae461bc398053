using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;

namespace AgileQuant.Dashboard.Model;

/// <summary>The form of a new matrix, and the specs it stands for.</summary>
internal sealed class SpecDraft
{
    /// <summary>Offered at once; any other name can be added.</summary>
    internal static readonly IReadOnlyList<string> KnownPrecisions = ["fp16", "bf16", "w8a8", "w4a8", "w4a4", "w4a8+gptq", "w4a4+gptq+trip"];

    private static readonly string[] PickedAtFirst = ["fp16", "w8a8", "w4a8", "w4a4"];

    internal string Name { get; set; } = "";
    internal HashSet<string> Devices { get; } = [];
    internal HashSet<string> Models { get; } = [];
    internal HashSet<string> Precisions { get; } = [.. PickedAtFirst];

    /// <summary>Precisions that the user wrote, by their canonical names, in the order they were written.</summary>
    internal List<string> Added { get; } = [];
    internal int? Prompt { get; set; } = 512;
    internal int? Generate { get; set; } = 64;
    internal int Threads { get; set; }
    internal string? Dataset { get; set; }

    /// <summary>The text that packs are calibrated on; used when <see cref="NeedsCalibration"/>.</summary>
    internal string? Calibration { get; set; }

    internal bool NeedsCalibration => Precisions.Any(PrecisionNames.NeedsCalibration);

    /// <summary>Adds and picks a precision that the user wrote.</summary>
    /// <returns>Null, or why there is no such precision.</returns>
    internal string? Add(string text)
    {
        try
        {
            var name = PrecisionNames.Canonical(text);
            Precisions.Add(name);
            if (!KnownPrecisions.Contains(name) && !Added.Contains(name))
            {
                Added.Add(name);
            }

            return null;
        }
        catch (FormatException error)
        {
            return error.Message;
        }
    }
    internal string Family { get; set; } = "llama.cpp";
    internal int WindowLength { get; set; } = 512;

    /// <summary>Null: all windows.</summary>
    internal int? Windows { get; set; } = 8;

    internal int Rounds { get; set; } = 6;

    /// <summary>What is missing before a plan can be made, in the order of the form; empty when nothing is.</summary>
    internal IReadOnlyList<string> Missing(IReadOnlyList<ModelView> models)
    {
        var missing = new List<string>();
        Add(Devices.Count == 0, "Pick at least one device.");
        Add(Models.Count == 0, "Pick at least one model.");
        Add(Precisions.Count == 0, "Pick at least one precision.");
        Add(Devices.Count > 0 && Models.Count > 0 && ToSpec(models).Workloads.Count == 0,
            "Set a prompt or generated length for speed, or a dataset for perplexity (models with random weights: speed only).");
        Add(NeedsCalibration && Calibration is null, $"Pick a calibration text: {Precisions.FirstOrDefault(PrecisionNames.NeedsCalibration)} needs one.");
        Add(Rounds is < 1 or > 100, "Rounds are 1 to 100.");
        Add(WindowLength is < 2 or > 131_072, "The window length is 2 to 131072 tokens.");
        Add(Prompt is < 1 || Generate is < 1 || Windows is < 1, "Lengths and windows are at least 1; leave a field empty to go without.");
        return missing;

        void Add(bool when, string text)
        {
            if (when)
            {
                missing.Add(text);
            }
        }
    }

    /// <summary>
    /// The spec as it is planned and started. Speed and perplexity are one workload, but models with random weights take no part
    /// in perplexity: when both kinds are picked, the spec has a workload for each.
    /// </summary>
    internal MatrixSpec ToSpec(IReadOnlyList<ModelView> models)
    {
        var random = Models.Where(name => models.Any(m => m.Name == name && m.RandomWeights)).Order().ToList();
        var trained = Models.Except(random).Order().ToList();
        var speed = Prompt is not null || Generate is not null;
        var workloads = new List<WorkloadSpec>();
        if (trained.Count > 0 && (speed || Dataset is not null))
        {
            workloads.Add(new("main", random.Count == 0 ? [] : trained, Prompt, Generate, Threads, Dataset,
                Dataset is null ? null : $"{Family}-{WindowLength}", Dataset is null ? null : Windows));
        }

        if (random.Count > 0 && speed)
        {
            workloads.Add(new(trained.Count == 0 ? "main" : "speed", trained.Count == 0 ? [] : random, Prompt, Generate, Threads, null, null, null));
        }

        return new(Name.Trim(), [.. Devices.Order()], [.. Models.Order()], [.. PrecisionNames.InOrder(Precisions, p => p)], workloads,
            new PolicySpec(Rounds: Rounds), NeedsCalibration ? Calibration : null);
    }
}
