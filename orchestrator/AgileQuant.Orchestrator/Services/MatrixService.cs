using AgileQuant.Orchestrator.Artifacts;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Services;

/// <inheritdoc cref="IMatrixService"/>
public sealed class MatrixService(
    MatrixStore matrices, ViewStore views, DeviceStore devices, AssetStore assets, NodeJobStore nodeJobs, ArtifactFetcher artifacts, IDeviceOwnership ownership,
    BaselineComparisons baselines) : IMatrixService
{
    public async Task<MatrixPlanView> PlanAsync(MatrixSpec spec, CancellationToken ct = default)
    {
        var plan = MatrixPlanner.Plan(SpecRules.Complete(spec), await CatalogueAsync(ct));
        return new MatrixPlanView(
            plan.Runs.Count, plan.Jobs.Count(j => j.Kind == "timing"), plan.Jobs.Count(j => j.Kind == "perplexity"), plan.Packs.Count, plan.Warnings);
    }

    public async Task<Guid> StartAsync(MatrixSpec spec, string createdBy, CancellationToken ct = default)
    {
        var complete = SpecRules.Complete(spec);
        var id = await matrices.AddAsync(complete, MatrixPlanner.Plan(complete, await CatalogueAsync(ct)), createdBy, ct);
        foreach (var made in await nodeJobs.MadeAsync(id, ct))
        {
            if (!await artifacts.IsAvailableAsync(made.Sha256, ct))
                await nodeJobs.RemakeAsync(made.Sha256, ct);
        }

        return id;
    }

    public Task<IReadOnlyList<MatrixSummaryView>> ListAsync(int limit = 100, CancellationToken ct = default) =>
        views.MatricesAsync(Math.Clamp(limit, 1, 1000), ct);

    public async Task<MatrixView?> FindAsync(string idOrName, CancellationToken ct = default)
    {
        if (Guid.TryParse(idOrName, out var id))
            return WithBaselines(await views.MatrixAsync(id, ct));
        var found = await views.FindMatricesAsync(idOrName, ct);
        if (found.Count == 0)
            return null;
        var byName = WithBaselines(await views.MatrixAsync(found[0], ct));
        return found.Count == 1 || byName?.Summary.Name == idOrName
            ? byName
            : throw new UserErrorException($"'{idOrName}' is the start of several matrix ids: write more of it.");
    }

    public async Task CancelAsync(Guid matrixId, string requestedBy, CancellationToken ct = default)
    {
        if (!await matrices.CancelAsync(matrixId, requestedBy, ct) && await views.MatrixAsync(matrixId, ct) is null)
            throw new UserErrorException("There is no such matrix: bench matrix list shows all.");
        foreach (var device in await matrices.DevicesAsync(matrixId, ct))
            await ownership.WakeAsync(device, ct);
    }

    private MatrixView? WithBaselines(MatrixView? view) => view is null ? null : view with { Baselines = baselines.For(view.Runs) };

    private async Task<Catalogue> CatalogueAsync(CancellationToken ct) => new(
        [.. (await devices.ListAsync(ct)).Select(d => new PlannableDevice(d.Id, d.Name, d.KindValue, d.StateValue, d.StateReason, d.SelfTestView?.Precisions))],
        [.. (await assets.ModelsAsync(ct)).Select(m => new PlannableModel(m.Id, m.Name, m.RandomWeights, m.HasTokenizer, m.ContextLength, m.Shape, m.HasLearnedPositions))],
        [.. (await assets.DatasetsAsync(ct)).Select(d => new PlannableDataset(d.Id, d.Name, d.Sha256))]);
}
