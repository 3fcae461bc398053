using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>Which text a matrix's packs are calibrated on, and why one may not be. Pure.</summary>
internal static class CalibrationRules
{
    /// <summary>Less than this every node has.</summary>
    private const long WorthSaying = 1L << 30;

    /// <returns>The text; null when no precision needs one.</returns>
    /// <exception cref="UserErrorException">It is missing, unknown, or a text that is scored.</exception>
    public static PlannableDataset? Find(MatrixSpec spec, IReadOnlyList<string> precisions, Catalogue catalogue, List<string> warnings)
    {
        var needing = precisions.Where(p => Precision.Parse(p).NeedsCalibration).ToList();
        if (needing.Count == 0 && (spec.Calibration is null || !precisions.Any(PrecisionNames.UsesCalibration)))
        {
            if (spec.Calibration is not null)
                warnings.Add($"The calibration text {spec.Calibration} is not used: none of these precisions chooses anything by one.");
            return null;
        }

        if (spec.Calibration is null)
        {
            throw new UserErrorException(
                $"{needing[0]} needs a calibration text: add 'calibration: DATASET' to the matrix, with a dataset that is not scored in it "
                + $"(at least {CalibrationText.LeastIds} tokens). {MatrixPlanner.Known("datasets", catalogue.Datasets.Select(d => d.Name), "bench dataset import")}");
        }

        var dataset = catalogue.Datasets.FirstOrDefault(d => d.Name == spec.Calibration)
            ?? throw new UserErrorException(
                $"There is no dataset '{spec.Calibration}' to calibrate on. {MatrixPlanner.Known("datasets", catalogue.Datasets.Select(d => d.Name), "bench dataset import")}");
        var scored = spec.Workloads.Select(w => catalogue.Datasets.FirstOrDefault(d => d.Name == w.Dataset))
            .FirstOrDefault(d => d is not null && (d.Id == dataset.Id || (d.Sha256.Length > 0 && d.Sha256 == dataset.Sha256)));
        if (scored is null)
            return dataset;
        throw new UserErrorException(
            $"The calibration text {dataset.Name} is the text that perplexity is measured on{(scored.Name == dataset.Name ? "" : $" (as {scored.Name}: the same content)")}: "
            + "quantization would be fitted to it and the perplexity would flatter. Calibrate on another text, for example the training part of the same source.");
    }

    /// <summary>Says what calibrating the model takes.</summary>
    /// <exception cref="UserErrorException">The model cannot read the text.</exception>
    public static void CheckModel(PlannableModel model, IReadOnlyList<string> precisions, Action<string> warn)
    {
        if (model.Shape is { } shape && PackMemory.Needed(shape, calibrated: true) is var needed and > WorthSaying)
            warn($"Calibrating {model.Name} needs about {PackMemory.Gib(needed)} of free memory on the node that packs it; a node with less refuses.");
        if (model.RandomWeights && !model.HasTokenizer)
        {
            warn($"Model {model.Name} has random weights and no tokenizer: it is calibrated on random ids, which is as good for its speed.");
            return;
        }

        if (!model.HasTokenizer)
        {
            throw new UserErrorException(
                $"Model {model.Name} came without a tokenizer, so it cannot read the calibration text that {precisions.First(PrecisionNames.UsesCalibration)} is to be calibrated on: "
                + "import it with one, or leave out the precisions that need calibration.");
        }
    }
}
