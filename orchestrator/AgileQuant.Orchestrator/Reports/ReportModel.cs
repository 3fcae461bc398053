using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>
/// Everything a report is rendered from. Built by <see cref="Create"/>, which removes what must never be shown as a
/// measurement, so that no format can leak it.
/// </summary>
/// <param name="Runs">Run details in the order of the matrix; a run whose details are gone has only its summary.</param>
public sealed record ReportModel(MatrixView Matrix, IReadOnlyList<RunDetailView> Runs, StatusView Status, DateTimeOffset GeneratedAt)
{
    /// <summary>Puts runs in matrix order and removes speeds of boards that are not real and perplexities of random weights.</summary>
    public static ReportModel Create(
        MatrixView matrix, IEnumerable<RunDetailView> details, StatusView status, DateTimeOffset generatedAt)
    {
        var byId = details.ToDictionary(d => d.Run.Id);
        var runs = Ordered(matrix)
            .Select(run => byId.TryGetValue(run.Id, out var detail) ? detail with { Run = run } : Bare(run, status))
            .Select(Honest)
            .ToList();
        return new ReportModel(matrix with { Runs = [.. runs.Select(r => r.Run)] }, runs, status, generatedAt);
    }

    /// <summary>Speeds of emulated and simulated boards and perplexities of random weights are not measurements.</summary>
    public static RunSummaryView Honest(RunSummaryView run) => run with
    {
        Speed = run.DeviceKind == DeviceKind.Real ? run.Speed : null,
        Grade = run.DeviceKind == DeviceKind.Real ? run.Grade : null,
        Perplexity = run.RandomWeights ? null : run.Perplexity,
    };

    private static RunDetailView Honest(RunDetailView detail) => detail with
    {
        Run = Honest(detail.Run),
        Blocks = detail.Run.DeviceKind == DeviceKind.Real ? detail.Blocks : [],
        Windows = detail.Run.RandomWeights ? [] : detail.Windows,
    };

    private static RunDetailView Bare(RunSummaryView run, StatusView status) => new(
        run, [], [], [], [],
        new ProvenanceView(null, null, null, null, null, null, null, null, null, null, null, null, status.Transport, status.ClusterId.ToString()));

    /// <summary>Runs by workload, model, device and precision, each in the order of the spec.</summary>
    public static IEnumerable<RunSummaryView> Ordered(MatrixView matrix)
    {
        var spec = matrix.Spec;
        return matrix.Runs
            .OrderBy(r => Position([.. spec.Workloads.Select(w => w.Name)], r.Workload))
            .ThenBy(r => Position(spec.Models, r.Model))
            .ThenBy(r => Position(spec.Devices, r.Device))
            .ThenBy(r => Position(spec.Precisions, r.Precision));
    }

    private static int Position(IReadOnlyList<string> names, string name)
    {
        for (var i = 0; i < names.Count; i++)
        {
            if (names[i] == name)
                return i;
        }

        return names.Count;
    }
}
