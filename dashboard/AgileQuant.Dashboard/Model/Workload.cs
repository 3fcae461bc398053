using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Dashboard.Model;

/// <summary>Workloads in words.</summary>
internal static class Workload
{
    /// <summary>For instance <c>main: 512 prompt, 64 generated, llama.cpp-512 on sdk-heldout, 8 windows</c>.</summary>
    internal static string Describe(WorkloadSpec workload)
    {
        var parts = new List<string>();
        if (workload.Prompt is { } prompt)
        {
            parts.Add($"{prompt} prompt");
        }

        if (workload.Generate is { } generate)
        {
            parts.Add($"{generate} generated");
        }

        if (workload.Dataset is { } dataset)
        {
            parts.Add($"{workload.Convention} on {dataset}, {(workload.Windows is { } windows ? $"{windows} windows" : "all windows")}");
        }

        if (workload.Threads > 0)
        {
            parts.Add($"{workload.Threads} threads");
        }

        return $"{workload.Name}: {string.Join(", ", parts)}";
    }
}
