using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;
using static AgileQuant.Dashboard.Tests.Fakes.FakeDevices;

namespace AgileQuant.Dashboard.Tests.Fakes;

/// <summary>An in-memory bench behind all application services: no boards, no database, the same answers every time.</summary>
internal sealed class FakeBench : IDeviceService, IAssetService, IMatrixService, IRunService, IReportService, IStatusService, ISignInService, IChangeFeed
{
    private readonly Lock _gate = new();
    private readonly List<Channel<ChangeEvent>> _readers = [];
    private readonly ConcurrentDictionary<string, bool> _tokens = new();
    private readonly List<MatrixView> _matrices;

    internal FakeBench(bool empty = false)
    {
        Devices = empty ? [] : Shelf();
        Models = empty ? [] : FakeAssets.Models();
        Datasets = empty ? [] : FakeAssets.Datasets();
        _matrices = empty ? [] : FakeMatrices.All(Devices);
    }

    private readonly TaskCompletionSource _subscribed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Open subscriptions to changes.</summary>
    internal int Readers { get { lock (_gate) { return _readers.Count; } } }

    /// <summary>Waits for the first subscription.</summary>
    internal Task SubscribedAsync(CancellationToken ct) => _subscribed.Task.WaitAsync(ct);

    internal List<DeviceView> Devices { get; }
    internal List<ModelView> Models { get; }
    internal List<DatasetView> Datasets { get; }
    internal List<string> Calls { get; } = [];
    internal IReadOnlyList<MatrixView> Matrices { get { lock (_gate) { return [.. _matrices]; } } }

    // Devices
    Task<IReadOnlyList<DeviceView>> IDeviceService.ListAsync(CancellationToken ct)
    {
        lock (_gate) { return Task.FromResult<IReadOnlyList<DeviceView>>([.. Devices.Where(d => d.State != DeviceState.Retired).OrderBy(d => d.Name)]); }
    }

    Task<DeviceView?> IDeviceService.FindAsync(string nameOrId, CancellationToken ct)
    {
        lock (_gate) { return Task.FromResult(Devices.FirstOrDefault(d => d.Name == nameOrId || d.Id.ToString() == nameOrId)); }
    }

    public Task<HostKeyView> FetchHostKeyAsync(string address, CancellationToken ct = default) =>
        address.Contains("unreachable", StringComparison.Ordinal)
            ? throw new UserErrorException($"{address} does not answer on its SSH port. Check the address, and that sshd runs there.")
            : Task.FromResult(new HostKeyView("ssh-ed25519", "SHA256:3tQbX0m8rVn5WcYp1LkJdHs7GzEoUa2iKfRvTqNwB9M"));

    public Task<DeviceView> AddAsync(AddDeviceRequest request, CancellationToken ct = default)
    {
        DeviceView added;
        lock (_gate)
        {
            if (Devices.Any(d => d.Name == request.Name))
            {
                throw new UserErrorException($"A device named {request.Name} exists already. Choose another name.");
            }

            Calls.Add($"add {request.Name} {request.Address} {request.HostKeyFingerprint} {request.IdentityFile}");
            added = Device(request.Name, request.Address, DeviceState.Registering, "Probing the board", null, null, kind: request.Kind);
            Devices.Add(added);
        }

        Publish("device", added.Id);
        return Task.FromResult(added);
    }

    public Task CheckAsync(string nameOrId, CancellationToken ct = default)
    {
        lock (_gate) { Calls.Add("check " + nameOrId); }
        return Task.CompletedTask;
    }

    public Task AdoptAsync(string nameOrId, CancellationToken ct = default)
    {
        lock (_gate) { Calls.Add("adopt " + nameOrId); }
        return Task.CompletedTask;
    }

    public Task RemoveAsync(string nameOrId, bool force, CancellationToken ct = default)
    {
        lock (_gate)
        {
            var device = Devices.First(d => d.Name == nameOrId);
            if (device.State is DeviceState.Busy && !force)
            {
                throw new UserErrorException($"{nameOrId} runs a job. Wait for it, or remove with force, which cancels it.");
            }

            Calls.Add($"remove {nameOrId} {force}");
            Devices.Remove(device);
        }

        return Task.CompletedTask;
    }

    public Task<IReadOnlyList<TelemetryPoint>> TelemetryAsync(Guid deviceId, int limit, CancellationToken ct = default)
    {
        lock (_gate)
        {
            var device = Devices.FirstOrDefault(d => d.Id == deviceId);
            return Task.FromResult<IReadOnlyList<TelemetryPoint>>(
                device?.Facts is null ? [] : Telemetry(device.Name, Math.Min(limit, 240), device.Kind != DeviceKind.Real));
        }
    }

    internal void Change(string name, Func<DeviceView, DeviceView> change)
    {
        Guid id;
        lock (_gate)
        {
            var at = Devices.FindIndex(d => d.Name == name);
            Devices[at] = change(Devices[at]);
            id = Devices[at].Id;
        }

        Publish("device", id);
    }

    // Assets
    public Task<IReadOnlyList<ModelView>> ListModelsAsync(CancellationToken ct = default)
    {
        lock (_gate) { return Task.FromResult<IReadOnlyList<ModelView>>([.. Models]); }
    }

    /// <summary>Ends the import of a path that begins with <c>/slow</c>.</summary>
    internal TaskCompletionSource SlowImport { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public async Task<ModelView> ImportModelAsync(string path, string name, IProgress<ModelProgress>? progress = null, CancellationToken ct = default)
    {
        if (path.StartsWith("/missing", StringComparison.Ordinal))
            throw new UserErrorException($"{path} is not there. Give a folder with config.json, or a .gguf file, on the node's machine.");
        if (path.StartsWith("/slow", StringComparison.Ordinal))
        {
            progress?.Report(new ModelProgress(0.4, "blk.1.ffn_up.weight", 12, 30));
            await SlowImport.Task.WaitAsync(TimeSpan.FromMinutes(1), ct);
        }

        return await Add(Models, FakeAssets.Model(name, 4_700_000, random: false), "model");
    }

    public Task<ModelView> CreateRandomModelAsync(string shape, string name, int seed, IProgress<ModelProgress>? progress = null, CancellationToken ct = default) =>
        Add(Models, FakeAssets.Model(name, 150_000_000, random: true), "model");

    public Task<IReadOnlyList<RandomShapeView>> ListRandomShapesAsync(CancellationToken ct = default) => Task.FromResult<IReadOnlyList<RandomShapeView>>(
    [
        new("demo-150m", "llama", 149_800_000, 300_500_000, 400_000_000, null),
        new("tinyllama-1.1b", "llama", 1_100_048_384, 2_201_000_000, 2_400_000_000, "A random model of the shape tinyllama-1.1b needs 2.0 GiB of disk, /store has 1.1 GiB free"),
    ]);

    public Task<IReadOnlyList<DatasetView>> ListDatasetsAsync(CancellationToken ct = default)
    {
        lock (_gate) { return Task.FromResult<IReadOnlyList<DatasetView>>([.. Datasets]); }
    }

    public Task<DatasetView> ImportDatasetAsync(string path, string name, string format = "text", CancellationToken ct = default) =>
        Add(Datasets, new DatasetView(Id(name), name, 88_000, FakeRuns.Hex(name), format, Now), "dataset");

    public Task<IReadOnlyList<EngineView>> ListEnginesAsync(CancellationToken ct = default) => Task.FromResult<IReadOnlyList<EngineView>>(
    [
        new("linux-arm64", "0.1.0", "musl-gcc 13.2 -O3", EngineSha, 1_041_220, Now.AddDays(-1), true),
        new("linux-x64", "0.1.0", "musl-gcc 13.2 -O3", FakeRuns.Hex("x64"), 1_187_904, Now.AddDays(-1), true),
    ]);

    public Task<EngineView> AddEngineAsync(string path, CancellationToken ct = default) => throw new UserErrorException("This bench takes no engines.");

    private Task<T> Add<T>(List<T> to, T what, string topic)
    {
        lock (_gate) { to.Add(what); }
        Publish(topic, Guid.Empty);
        return Task.FromResult(what);
    }

    // Matrices
    public Task<MatrixPlanView> PlanAsync(MatrixSpec spec, CancellationToken ct = default) => Task.FromResult(FakeMatrices.Plan(spec, Models));

    public Task<Guid> StartAsync(MatrixSpec spec, string createdBy, CancellationToken ct = default)
    {
        MatrixView matrix;
        lock (_gate)
        {
            matrix = FakeMatrices.Start(spec, createdBy, Devices, Models);
            _matrices.Insert(0, matrix);
        }

        Publish("matrix", matrix.Summary.Id);
        return Task.FromResult(matrix.Summary.Id);
    }

    Task<IReadOnlyList<MatrixSummaryView>> IMatrixService.ListAsync(int limit, CancellationToken ct) =>
        Task.FromResult<IReadOnlyList<MatrixSummaryView>>([.. Matrices.Select(m => m.Summary).Take(limit)]);

    Task<MatrixView?> IMatrixService.FindAsync(string idOrName, CancellationToken ct) =>
        Task.FromResult(Matrices.FirstOrDefault(m => m.Summary.Name == idOrName || m.Summary.Id.ToString().StartsWith(idOrName, StringComparison.Ordinal)));

    public Task CancelAsync(Guid matrixId, string requestedBy, CancellationToken ct = default)
    {
        Replace(matrixId, FakeMatrices.Cancel);
        return Task.CompletedTask;
    }

    /// <summary>Completes the next open run of a matrix, as a driver would.</summary>
    internal bool Advance(Guid matrixId)
    {
        var more = false;
        Replace(matrixId, m => FakeMatrices.Advance(m, Devices, out more));
        return more;
    }

    internal void Replace(Guid matrixId, Func<MatrixView, MatrixView> change)
    {
        lock (_gate)
        {
            var at = _matrices.FindIndex(m => m.Summary.Id == matrixId);
            _matrices[at] = change(_matrices[at]);
        }

        Publish("matrix", matrixId);
    }

    Task<RunDetailView?> IRunService.FindAsync(Guid runId, CancellationToken ct)
    {
        var found = Matrices.SelectMany(m => m.Runs.Select(r => (m, r))).FirstOrDefault(x => x.r.Id == runId);
        return Task.FromResult(found.r is null ? null : FakeRuns.Detail(found.r, found.m.Spec.Workloads.First(w => w.Name == found.r.Workload)));
    }

    public Task<ReportFile> RenderAsync(string matrixIdOrName, ReportFormat format, CancellationToken ct = default)
    {
        var matrix = Matrices.FirstOrDefault(m => m.Summary.Id.ToString() == matrixIdOrName || m.Summary.Name == matrixIdOrName)
            ?? throw new UserErrorException($"There is no matrix {matrixIdOrName}.");
        var (extension, type) = format switch
        {
            ReportFormat.Html => ("html", "text/html"),
            ReportFormat.Markdown => ("md", "text/markdown"),
            ReportFormat.Csv => ("csv", "text/csv"),
            _ => ("json", "application/json"),
        };
        var text = string.Join('\n', matrix.Runs.Select(r => $"{r.Device},{r.Model},{r.Precision},{r.State}"));
        return Task.FromResult(new ReportFile($"{matrix.Summary.Name}.{extension}", type, System.Text.Encoding.UTF8.GetBytes(text)));
    }

    Task<StatusView> IStatusService.GetAsync(CancellationToken ct) => Task.FromResult(new StatusView(
        "0.1.0", Id("cluster"), "Postgres leases", "OpenSSH", ["Postgres leases", "OpenSSH"], "embedded, PostgreSQL 15.14",
        [
            new(Id("node-1"), "bench-host", "bench-host", "0.1.0", "Postgres leases", "OpenSSH", "https://10.0.0.5:41233", Now.AddHours(-30), Now.AddSeconds(-2), true,
                ["minipc-n100", "pi4", "pi5", "orangepi5", "qemu-a72", "pixel6", "rock5b"], ["packing llama-1b w4a8"]),
            new(Id("node-2"), "lab-2", "lab-2", "0.1.0", "Postgres leases", "OpenSSH", null, Now.AddDays(-3), Now.AddHours(-5), false, [], []),
        ]));

    public Task<string> CreateOneTimeTokenAsync(TimeSpan lifetime, CancellationToken ct = default)
    {
        var token = Guid.NewGuid().ToString("N");
        _tokens[token] = true;
        return Task.FromResult(token);
    }

    public Task<bool> RedeemAsync(string token, CancellationToken ct = default) => Task.FromResult(_tokens.TryRemove(token, out _));

    internal void Publish(string topic, Guid id)
    {
        lock (_gate)
        {
            foreach (var reader in _readers) { reader.Writer.TryWrite(new(topic, id)); }
        }
    }

    public async IAsyncEnumerable<ChangeEvent> SubscribeAsync([EnumeratorCancellation] CancellationToken ct = default)
    {
        var channel = Channel.CreateBounded<ChangeEvent>(new BoundedChannelOptions(256) { FullMode = BoundedChannelFullMode.DropOldest });
        lock (_gate) { _readers.Add(channel); }
        _subscribed.TrySetResult();
        try
        {
            await foreach (var change in channel.Reader.ReadAllAsync(ct)) { yield return change; }
        }
        finally
        {
            lock (_gate) { _readers.Remove(channel); }
        }
    }
}
