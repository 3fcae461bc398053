using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>One run with everything that explains its figures.</summary>
public sealed partial class Run : LivePage
{
    private RunDetailView? _detail;
    private string? _matrixName;
    private Guid? _loadedId;

    /// <summary>The run's id, from the address.</summary>
    [Parameter] public Guid Id { get; set; }

    [Inject] private IRunService Runs { get; set; } = null!;

    [Inject] private IMatrixService Matrices { get; set; } = null!;

    [Inject] private TimeProvider Clock { get; set; } = null!;

    private DateTimeOffset Now => Clock.GetUtcNow();

    protected override bool Concerns(ChangeEvent change) => change.Topic == "matrix" && (_detail is null || change.Id == _detail.Run.MatrixId);

    protected override async Task OnParametersSetAsync()
    {
        if (_loadedId is not null && _loadedId != Id)
        {
            await ReloadAsync();
        }
    }

    protected override async Task LoadAsync(CancellationToken ct)
    {
        _loadedId = Id;
        _detail = await Runs.FindAsync(Id, ct);
        if (_detail is not null && _matrixName is null)
        {
            _matrixName = (await Matrices.FindAsync(_detail.Run.MatrixId.ToString(), ct))?.Summary.Name;
        }
    }
}
