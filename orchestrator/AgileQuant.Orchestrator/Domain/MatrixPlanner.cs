using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>Turns a spec into runs and jobs. Pure: the same spec and catalogue give the same plan but for fresh ids.</summary>
public static class MatrixPlanner
{
    /// <exception cref="UserErrorException">The spec cannot be run; the message says what to change.</exception>
    public static MatrixPlan Plan(MatrixSpec spec, Catalogue catalogue, Func<Guid>? newId = null)
    {
        SpecRules.Check(spec);
        var ids = newId ?? Guid.CreateVersion7;
        var warnings = new List<string>();
        var devices = spec.Devices.Distinct().Select(name => Device(catalogue, name, warnings)).ToList();
        var models = spec.Models.Distinct().Select(name => Model(catalogue, name)).ToList();
        var precisions = Precisions(spec.Precisions, warnings);
        foreach (var device in devices)
            warnings.AddRange(Skipped(precisions, device));
        var calibration = CalibrationRules.Find(spec, precisions, catalogue, warnings);
        var draft = new Draft(spec, catalogue, precisions, calibration, ids, warnings);
        for (var w = 0; w < spec.Workloads.Count; w++)
        {
            foreach (var model in models.Where(m => Wants(spec.Workloads[w], m)))
            {
                foreach (var device in devices.Where(d => spec.Workloads[w].Devices is not { Count: > 0 } some || some.Contains(d.Name)))
                    draft.Add(device, model, w);
            }
        }

        if (draft.Runs.Count == 0)
            throw new UserErrorException("Nothing would run: " + string.Join(" ", warnings.DefaultIfEmpty("no workload fits these models.")));
        if (draft.Runs.Count > Limits.RunsPerMatrix)
        {
            throw new UserErrorException(
                $"This matrix has {draft.Runs.Count} runs, at most {Limits.RunsPerMatrix} are allowed: split it into several matrices.");
        }

        return draft.Finish();
    }

    /// <summary>Said before it happens; one line a device is enough.</summary>
    private static IEnumerable<string> Skipped(IEnumerable<string> precisions, PlannableDevice device) =>
        precisions.Where(p => PrecisionNames.WhyNot(p, device.Kernels) is not null).Take(1)
            .Select(p => $"Device {device.Name}: {p} is skipped: {PrecisionNames.WhyNot(p, device.Kernels)}.");

    private static PlannableDevice Device(Catalogue catalogue, string name, List<string> warnings)
    {
        var device = catalogue.Devices.FirstOrDefault(d => d.Name == name)
            ?? throw new UserErrorException($"There is no device '{name}'. {Known("devices", catalogue.Devices.Select(d => d.Name), "bench device add")}");
        if (device.State is DeviceState.Bad or DeviceState.Offline)
        {
            var state = device.State.ToString().ToLowerInvariant();
            warnings.Add($"Device {name} is {state} now ({device.StateReason ?? "no reason given"}): its runs wait until it is ready.");
        }

        return device;
    }

    private static PlannableModel Model(Catalogue catalogue, string name) =>
        catalogue.Models.FirstOrDefault(m => m.Name == name)
        ?? throw new UserErrorException($"There is no model '{name}'. {Known("models", catalogue.Models.Select(m => m.Name), "bench model import")}");

    private static List<string> Precisions(IReadOnlyList<string> asked, List<string> warnings)
    {
        var parsed = new List<string>();
        foreach (var text in asked)
        {
            try
            {
                parsed.Add(PrecisionNames.Canonical(text));
                if (parsed[^1].Length > Limits.PrecisionLength)
                    throw new UserErrorException($"The precision '{parsed[^1]}' has more than {Limits.PrecisionLength} characters, which an engine's plan cannot name: use fewer options.");
            }
            catch (FormatException e)
            {
                throw new UserErrorException(e.Message, e);
            }
        }

        if (!parsed.Contains(PrecisionNames.Baseline))
            warnings.Add("fp16 is added: it is the baseline of every speedup and every difference in perplexity.");
        return [PrecisionNames.Baseline, .. parsed.Where(p => !PrecisionNames.IsBaseline(p)).Distinct()];
    }

    private static bool Wants(WorkloadSpec workload, PlannableModel model) => workload.Models.Count == 0 || workload.Models.Contains(model.Name);

    internal static string Known(string what, IEnumerable<string> names, string command)
    {
        var list = names.Order(StringComparer.Ordinal).Take(20).ToList();
        return list.Count == 0 ? $"There are no {what} yet: {command}." : $"Known {what}: {string.Join(", ", list)}.";
    }

    /// <summary>Collects the plan while the cells are visited.</summary>
    private sealed class Draft(
        MatrixSpec spec, Catalogue catalogue, List<string> precisions, PlannableDataset? calibration, Func<Guid> newId, List<string> warnings)
    {
        private readonly List<PlannedJob> _jobs = [];
        private readonly HashSet<PlannedPack> _packs = [];
        private readonly HashSet<PlannedTokens> _tokens = [];
        private readonly HashSet<PlannedScore> _scores = [];

        public List<PlannedRun> Runs { get; } = [];

        public void Add(PlannableDevice device, PlannableModel model, int index)
        {
            var workload = spec.Workloads[index];
            var speed = AsksSpeed(device, workload);
            var dataset = AskedDataset(model, workload);
            if (!speed && dataset is null)
            {
                Warn($"Workload {workload.Name} has nothing to do for model {model.Name} on {device.Name}: no runs.");
                return;
            }

            var wanted = Wanted(workload);
            var runs = wanted.Select(p => new PlannedRun(
                newId(), device.Id, model.Id, p, index, workload.Name, speed, dataset is not null,
                dataset is null ? null : workload.Convention, dataset?.Id)).ToList();
            Runs.AddRange(runs);
            foreach (var run in runs)
                _packs.Add(new PlannedPack(model.Id, run.Precision));
            if (calibration is not null && wanted.Any(PrecisionNames.UsesCalibration))
            {
                CalibrationRules.CheckModel(model, wanted, Warn);
                _tokens.Add(new PlannedTokens(model.Id, calibration.Id));
            }

            if (dataset is not null)
                AddPerplexity(device, model, index, dataset, runs);
            if (speed)
                AddTiming(device, model, index, runs);
        }

        /// <summary>Perplexity jobs come first: a board with wrong numbers is found before hours of timing.</summary>
        public MatrixPlan Finish() => new(
            Runs, [.. _jobs.OrderBy(j => j.Kind == "perplexity" ? 0 : 1)], [.. _packs], [.. _tokens], [.. _scores],
            spec.Policy.GroupSize, spec.Policy.MaxAttempts, warnings, calibration);

        private List<string> Wanted(WorkloadSpec workload) =>
            workload.Precisions is { Count: > 0 } some ? [.. precisions.Where(p => PrecisionNames.IsBaseline(p) || some.Contains(p))] : precisions;

        private bool AsksSpeed(PlannableDevice device, WorkloadSpec workload)
        {
            if (workload.Prompt is null && workload.Generate is null)
                return false;
            if (device.Kind == DeviceKind.Real)
                return true;
            Warn($"Device {device.Name} is {device.Kind.ToString().ToLowerInvariant()}: its speed is never measured, only its perplexity.");
            return false;
        }

        private PlannableDataset? AskedDataset(PlannableModel model, WorkloadSpec workload)
        {
            if (workload.Dataset is null)
                return null;
            var dataset = catalogue.Datasets.FirstOrDefault(d => d.Name == workload.Dataset)
                ?? throw new UserErrorException(
                    $"There is no dataset '{workload.Dataset}'. {Known("datasets", catalogue.Datasets.Select(d => d.Name), "bench dataset import")}");
            if (model.RandomWeights)
                return Refuse($"Model {model.Name} has random weights: its perplexity means nothing and is not measured.");
            if (!model.HasTokenizer)
                return Refuse($"Model {model.Name} came without a tokenizer: its perplexity cannot be measured. Import it with one.");
            var window = PerplexityConvention.Parse(workload.Convention!).N;
            if (window > model.ContextLength)
            {
                throw new UserErrorException(
                    $"Workload {workload.Name} scores windows of {window} tokens, but {model.Limit}: "
                    + $"use {workload.Convention![..workload.Convention!.LastIndexOf('-')]}-{model.ContextLength}, or name the models it is for.");
            }

            return dataset;
        }

        private PlannableDataset? Refuse(string why)
        {
            Warn(why);
            return null;
        }

        private void AddPerplexity(PlannableDevice device, PlannableModel model, int index, PlannableDataset dataset, List<PlannedRun> runs)
        {
            var convention = spec.Workloads[index].Convention!;
            _tokens.Add(new PlannedTokens(model.Id, dataset.Id));
            foreach (var run in runs)
                _scores.Add(new PlannedScore(model.Id, run.Precision, dataset.Id, convention));
            var blocks = runs.Select((r, i) => new PlannedBlock(i, r.Id, r.Precision, "perplexity", 0)).ToList();
            _jobs.Add(new PlannedJob(newId(), device.Id, model.Id, index, "perplexity", Settings(index), dataset.Id, blocks));
        }

        private void AddTiming(PlannableDevice device, PlannableModel model, int index, List<PlannedRun> runs)
        {
            var workload = spec.Workloads[index];
            var longest = Math.Max(workload.Prompt ?? 0, (workload.Generate ?? -1) + 1);
            if (longest > model.ContextLength)
            {
                throw new UserErrorException(
                    $"Workload {workload.Name} needs {longest} positions, but {model.Limit}: use a prompt of at most {model.ContextLength} tokens and a "
                    + $"generation of at most {model.ContextLength - 1}, or name the models it is for.");
            }

            List<string> kinds = [];
            if (workload.Prompt is not null)
                kinds.Add("prefill");
            if (workload.Generate is not null)
                kinds.Add("generate");
            var byPrecision = runs.ToDictionary(r => r.Precision);
            var blocks = BlockOrder.Rounds(Wanted(workload), kinds, spec.Policy.Rounds)
                .Select((b, i) => new PlannedBlock(i, byPrecision[b.Precision].Id, b.Precision, b.Kind, b.Round))
                .ToList();
            if (blocks.Count > Limits.BlocksPerJob)
                throw new UserErrorException($"A timing job would have {blocks.Count} blocks, at most {Limits.BlocksPerJob}: use fewer rounds.");
            _jobs.Add(new PlannedJob(newId(), device.Id, model.Id, index, "timing", Settings(index), null, blocks));
        }

        private JobSettings Settings(int index)
        {
            var (workload, policy) = (spec.Workloads[index], spec.Policy);
            return new JobSettings(
                workload.Threads, workload.Prompt, workload.Generate, workload.Convention, workload.Windows,
                policy.MinRepetitions, policy.MaxRepetitions, policy.WarmupMax, policy.TargetSpread,
                policy.CoolDownMarginCelsius, policy.CoolDownTimeoutSeconds);
        }

        private void Warn(string text)
        {
            if (!warnings.Contains(text))
                warnings.Add(text);
        }
    }
}
