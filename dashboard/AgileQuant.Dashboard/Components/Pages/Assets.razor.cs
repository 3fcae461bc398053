using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Dashboard.Components.Dialogs;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Radzen;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>Models with their packs, evaluation texts, engines.</summary>
public sealed partial class Assets : LivePage
{
    private IReadOnlyList<ModelView> _models = [];
    private IReadOnlyList<DatasetView> _datasets = [];
    private IReadOnlyList<EngineView> _engines = [];

    [Inject] private IAssetService Service { get; set; } = null!;

    [Inject] private DialogService Dialogs { get; set; } = null!;

    protected override bool Concerns(ChangeEvent change) => change.Topic is "model" or "dataset" or "engine";

    protected override async Task LoadAsync(CancellationToken ct)
    {
        _models = await Service.ListModelsAsync(ct);
        _datasets = await Service.ListDatasetsAsync(ct);
        _engines = await Service.ListEnginesAsync(ct);
    }

    private async Task CreateRandomAsync()
    {
        await Dialogs.OpenAsync<RandomModelDialog>("Create a random model", [], new DialogOptions { Width = "32rem", CloseDialogOnOverlayClick = false });
        await ReloadAsync();
    }

    private async Task ImportAsync(bool dataset)
    {
        await Dialogs.OpenAsync<ImportDialog>(dataset ? "Import a dataset" : "Import a model",
            new Dictionary<string, object?> { [nameof(ImportDialog.Dataset)] = dataset }!, new DialogOptions { Width = "32rem", CloseDialogOnOverlayClick = false });
        await ReloadAsync();
    }
}
