using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Dashboard.Components.Dialogs;
using AgileQuant.Dashboard.Hosting;
using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Logging;
using Radzen;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>One matrix as it fills in: heat maps, runs, jobs, report.</summary>
public sealed partial class Matrix : LivePage
{
    private static readonly string[] Formats = ["html", "md", "csv", "json"];

    private MatrixView? _matrix;
    private MatrixFilter _filter = new();
    private IReadOnlyList<HeatGroup> _groups = [];
    private IReadOnlyList<RunSummaryView> _rows = [];
    private List<(RunState State, int Count)> _counts = [];
    private string? _message;
    private string? _loadedId;

    /// <summary>Id, unique id prefix or name, from the address.</summary>
    [Parameter] public string Id { get; set; } = "";

    [Inject] private IMatrixService Service { get; set; } = null!;

    [Inject] private DialogService Dialogs { get; set; } = null!;

    [Inject] private ILogger<Matrix> Log { get; set; } = null!;

    [Inject] private TimeProvider Clock { get; set; } = null!;

    private DateTimeOffset Now => Clock.GetUtcNow();

    private Metric Shown => _filter.Metric ?? (_matrix is null ? Metric.GenerationSpeedup : HeatMap.Default(_matrix.Spec));

    protected override bool Concerns(ChangeEvent change) => change.Topic == "matrix" && (_matrix is null || change.Id == _matrix.Summary.Id);

    protected override async Task OnParametersSetAsync()
    {
        if (_loadedId is not null && _loadedId != Id)
        {
            _message = null;
            await ReloadAsync();
        }
    }

    protected override async Task LoadAsync(CancellationToken ct)
    {
        _loadedId = Id;
        _filter = MatrixFilter.Parse(new Uri(Navigation.Uri).Query);
        _matrix = await Service.FindAsync(Id, ct);
        Arrange();
    }

    private void Filter(MatrixFilter filter)
    {
        _filter = filter;
        Arrange();
        ReplaceQuery(filter.ToQuery());
    }

    private void Arrange()
    {
        if (_matrix is not null)
        {
            _groups = [.. HeatMap.Build(_matrix, Shown).Where(_filter.Admits)];
            _rows = [.. _matrix.Runs.Where(_filter.Admits)];
            _counts = [.. _matrix.Runs.GroupBy(r => r.State).Where(g => g.Key is not RunState.Complete).OrderBy(g => g.Key).Select(g => (g.Key, g.Count()))];
        }
    }

    private async Task CancelAsync()
    {
        var summary = _matrix!.Summary;
        if (!await ConfirmDialog.AskAsync(Dialogs, $"Cancel {summary.Name}?", $"{summary.Runs - summary.Complete - summary.Skipped} of {summary.Runs} runs are not complete. Boards stop what they run for this matrix.",
            "Cancel the matrix", "confirm-cancel", "Finished results and the report stay.", "Keep running"))
        {
            return;
        }

        try
        {
            await Service.CancelAsync(summary.Id, DashboardAuth.UserName, Gone);
        }
        catch (OperationCanceledException) when (Gone.IsCancellationRequested)
        {
            return;
        }
        catch (Exception error)
        {
            _message = Problem.Of(error, Log, "Cancelling");
        }

        await ReloadAsync();
    }

    private string Describe(string workload) => _matrix!.Spec.Workloads.FirstOrDefault(w => w.Name == workload) is { } spec ? Workload.Describe(spec) : workload;

    private double Share(int part) => _matrix!.Summary.Runs == 0 ? 0 : part / (double)_matrix.Summary.Runs;

    private static string? Blank(ChangeEventArgs e) => e.Value?.ToString() is { Length: > 0 } text ? text : null;
}
