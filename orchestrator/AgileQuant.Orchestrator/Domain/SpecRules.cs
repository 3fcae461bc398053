using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Domain;

/// <summary>Bounds on a spec, checked before anything else looks at it.</summary>
public static class SpecRules
{
    /// <summary>
    /// Puts empty lists and defaults where a file or a request left something out, and precisions into their one spelling; those that
    /// do not exist stay as they are, for <see cref="MatrixPlanner"/> to refuse.
    /// </summary>
    public static MatrixSpec Complete(MatrixSpec spec) => spec with
    {
        Devices = spec.Devices ?? [],
        Models = spec.Models ?? [],
        Precisions = Canonical(spec.Precisions ?? []),
        Workloads = [.. (spec.Workloads ?? []).Select(w => w with { Models = w.Models ?? [], Precisions = w.Precisions is { Count: > 0 } p ? Canonical(p) : null, Devices = w.Devices is { Count: > 0 } d ? d : null })],
        Policy = spec.Policy ?? new PolicySpec(),
    };

    private static List<string> Canonical(IEnumerable<string> precisions) =>
        [.. precisions.Select(p => Precision.TryParse(p, out var known) ? known.ToString() : p).Distinct()];

    /// <exception cref="UserErrorException">Something is missing or out of its bounds.</exception>
    public static void Check(MatrixSpec spec)
    {
        Name(spec.Name, "The matrix");
        Some(spec.Devices, "devices", Limits.DevicesPerMatrix);
        Some(spec.Models, "models", 100);
        Some(spec.Precisions, "precisions", 50);
        Some(spec.Workloads, "workloads", Limits.WorkloadsPerMatrix);
        foreach (var workload in spec.Workloads)
            Workload(workload, spec);
        if (spec.Workloads.Select(w => w.Name).Distinct().Count() != spec.Workloads.Count)
            throw new UserErrorException("Two workloads have the same name: give each its own.");
        Policy(spec.Policy);
    }

    private static void Workload(WorkloadSpec workload, MatrixSpec spec)
    {
        Name(workload.Name, "A workload");
        var what = $"workload {workload.Name}: ";
        Range(workload.Prompt, 1, Limits.TokensPerRepetition, what + "prompt");
        Range(workload.Generate, 1, Limits.TokensPerRepetition, what + "generate");
        Range(workload.Threads, 0, Limits.Threads, what + "threads");
        Range(workload.Windows, 1, Limits.Windows, what + "windows");
        if (workload.Prompt is null && workload.Generate is null && workload.Dataset is null)
            throw new UserErrorException($"Workload {workload.Name} asks for nothing: set prompt or generate (speed), or dataset (perplexity).");
        if (workload.Models.FirstOrDefault(m => !spec.Models.Contains(m)) is { } stranger)
            throw new UserErrorException($"Workload {workload.Name} names the model '{stranger}', which is not among the matrix's models.");
        if (workload.Precisions?.FirstOrDefault(p => !spec.Precisions.Contains(p)) is { } other)
            throw new UserErrorException($"Workload {workload.Name} names the precision '{other}', which is not among the matrix's precisions.");
        if (workload.Devices?.FirstOrDefault(d => !spec.Devices.Contains(d)) is { } away)
            throw new UserErrorException($"Workload {workload.Name} names the device '{away}', which is not among the matrix's devices.");
        if (workload.Dataset is not null && !PerplexityConvention.TryParse(workload.Convention, out _))
        {
            throw new UserErrorException(
                $"Workload {workload.Name} has a dataset but no known convention ('{workload.Convention}'): use for example llama.cpp-512 or gptq-512.");
        }
    }

    private static void Policy(PolicySpec policy)
    {
        Range(policy.Rounds, 1, Limits.Rounds, "policy: rounds");
        Range(policy.MinRepetitions, 1, Limits.Repetitions, "policy: minRepetitions");
        Range(policy.MaxRepetitions, policy.MinRepetitions, Limits.Repetitions, "policy: maxRepetitions");
        Range(policy.WarmupMax, 0, 100, "policy: warmupMax");
        Range(policy.MaxAttempts, 1, 20, "policy: maxAttempts");
        Range(policy.CoolDownTimeoutSeconds, 0, 24 * 3600, "policy: coolDownTimeoutSeconds");
        if (policy.TargetSpread is not (>= 0.0001 and <= 1))
            throw new UserErrorException("policy: targetSpread must be between 0.0001 and 1 (0.02 means 2%).");
        if (policy.CoolDownMarginCelsius is not (>= 0 and <= 100))
            throw new UserErrorException("policy: coolDownMarginCelsius must be between 0 and 100.");
        if (policy.GroupSize is not (0 or 32 or 64 or 128))
            throw new UserErrorException("policy: groupSize must be 32, 64, 128, or 0 for the whole row.");
    }

    /// <summary>A display name: 1 to 100 printable characters.</summary>
    public static void Name(string? name, string what)
    {
        if (string.IsNullOrWhiteSpace(name) || name.Length > Limits.NameLength || name.Any(char.IsControl))
            throw new UserErrorException($"{what} needs a name of 1 to {Limits.NameLength} printable characters.");
    }

    private static void Some<T>(IReadOnlyList<T> list, string what, int most)
    {
        if (list.Count == 0 || list.Count > most)
            throw new UserErrorException($"A matrix needs 1 to {most} {what}, this one has {list.Count}.");
    }

    private static void Range(int? value, int least, int most, string what)
    {
        if (value is { } v && (v < least || v > most))
            throw new UserErrorException($"{what} must be between {least} and {most}, not {v}.");
    }
}
