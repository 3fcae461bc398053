using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Services;

public sealed class DeviceService : IDeviceService
{
    public Task<IReadOnlyList<DeviceView>> ListAsync(CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<DeviceView?> FindAsync(string nameOrId, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<HostKeyView> FetchHostKeyAsync(string address, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<DeviceView> AddAsync(AddDeviceRequest request, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task CheckAsync(string nameOrId, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task RemoveAsync(string nameOrId, bool force, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<IReadOnlyList<TelemetryPoint>> TelemetryAsync(Guid deviceId, int limit, CancellationToken ct = default) => throw new NotSupportedException("under construction");
}

public sealed class MatrixService : IMatrixService
{
    public Task<MatrixPlanView> PlanAsync(MatrixSpec spec, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<Guid> StartAsync(MatrixSpec spec, string createdBy, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<IReadOnlyList<MatrixSummaryView>> ListAsync(int limit = 100, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<MatrixView?> FindAsync(string idOrName, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task CancelAsync(Guid matrixId, string requestedBy, CancellationToken ct = default) => throw new NotSupportedException("under construction");
}

public sealed class RunService : IRunService
{
    public Task<RunDetailView?> FindAsync(Guid runId, CancellationToken ct = default) => throw new NotSupportedException("under construction");
}

public sealed class AssetService : IAssetService
{
    public Task<IReadOnlyList<ModelView>> ListModelsAsync(CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<ModelView> ImportModelAsync(string path, string name, IProgress<double>? progress = null, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<ModelView> CreateRandomModelAsync(string shape, string name, int seed, IProgress<double>? progress = null, CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<IReadOnlyList<DatasetView>> ListDatasetsAsync(CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<DatasetView> ImportDatasetAsync(string path, string name, string format = "text", CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<IReadOnlyList<EngineView>> ListEnginesAsync(CancellationToken ct = default) => throw new NotSupportedException("under construction");
    public Task<EngineView> AddEngineAsync(string path, CancellationToken ct = default) => throw new NotSupportedException("under construction");
}

public sealed class StatusService : IStatusService
{
    public Task<StatusView> GetAsync(CancellationToken ct = default) => throw new NotSupportedException("under construction");
}
