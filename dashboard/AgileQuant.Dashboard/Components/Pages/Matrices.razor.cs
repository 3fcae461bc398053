using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>All matrices, newest first.</summary>
public sealed partial class Matrices : LivePage
{
    private IReadOnlyList<MatrixSummaryView> _matrices = [];
    private MatricesFilter _filter = new();

    [Inject] private IMatrixService Service { get; set; } = null!;

    [Inject] private TimeProvider Clock { get; set; } = null!;

    private DateTimeOffset Now => Clock.GetUtcNow();

    private List<MatrixSummaryView> Shown => [.. _matrices.Where(_filter.Admits)];

    protected override bool Concerns(ChangeEvent change) => change.Topic == "matrix";

    protected override async Task LoadAsync(CancellationToken ct)
    {
        _filter = MatricesFilter.Parse(new Uri(Navigation.Uri).Query);
        _matrices = await Service.ListAsync(ct: ct);
    }

    private void Filter(MatricesFilter filter)
    {
        _filter = filter;
        ReplaceQuery(filter.ToQuery());
    }

    private static double Share(int part, MatrixSummaryView matrix) => matrix.Runs == 0 ? 0 : part / (double)matrix.Runs;
}
