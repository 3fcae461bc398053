using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>A stored matrix of one device with made packs, and the stores of one node that owns the device.</summary>
internal sealed class TestJob
{
    private TestJob(TestStore store, NodeIdentity node, DeviceLease lease, Guid matrix, MatrixPlan plan)
    {
        Store = store;
        Node = node;
        Lease = lease;
        Matrix = matrix;
        Plan = plan;
        Attempts = new AttemptStore(store.Database, node);
        Jobs = new JobStore(store.Database, node);
    }

    public TestStore Store { get; }

    public NodeIdentity Node { get; }

    public DeviceLease Lease { get; }

    public Guid Matrix { get; }

    public MatrixPlan Plan { get; }

    public AttemptStore Attempts { get; }

    public JobStore Jobs { get; }

    public PlannedJob Job => Plan.Jobs[0];

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public static WorkloadSpec Speed { get; } = new("speed", [], 16, null, 1, null, null, null);

    public static WorkloadSpec Quality { get; } = new("quality", [], null, null, 1, "text", "llama.cpp-8", 2);

    public static async Task<TestJob> CreateAsync(TestStore store, WorkloadSpec workload, int maxAttempts = 3, string[]? precisions = null)
    {
        var node = await store.AddNodeAsync();
        var device = await store.AddDeviceAsync();
        var (matrix, plan) = await AddMatrixAsync(store, device, workload, maxAttempts, precisions);
        var packs = new string('a', 64);
        await store.ExecuteAsync(
            """
            update pack set sha256 = @packs, bytes = 10;
            update token_file set sha256 = @packs, ids = 100;
            update node_job set state = 'done' where kind in ('pack', 'tokens');
            """,
            new { packs });
        var lease = (await store.Leases(node).AcquireAsync(0, Ct)).Single();
        return new TestJob(store, node, lease, matrix, plan);
    }

    /// <summary>Stores a matrix on a device, with a model and a text of its own names.</summary>
    public static async Task<(Guid Id, MatrixPlan Plan)> AddMatrixAsync(
        TestStore store, Guid device, WorkloadSpec workload, int maxAttempts = 3, string[]? precisions = null, string? calibration = null)
    {
        var sha = new string('a', 64);
        await store.ExecuteAsync(
            """
            insert into artifact (sha256, kind, bytes) values (@sha, 'model', 1) on conflict do nothing;
            insert into model (id, name, architecture, parameters, layers, dimension, feed_forward, heads, kv_heads, context_length,
                vocabulary_size, random_weights, has_tokenizer, source, sha256, bytes)
            values (@model, 'model', 'llama', 1, 1, 32, 32, 1, 1, 512, 10, false, true, 'test', @sha, 1) on conflict do nothing;
            insert into dataset (id, name, format, sha256, bytes) values (@dataset, 'text', 'text', @sha, 1) on conflict do nothing;
            insert into artifact (sha256, kind, bytes) values (@otherSha, 'dataset', 1) on conflict do nothing;
            insert into dataset (id, name, format, sha256, bytes) values (@other, 'other', 'text', @otherSha, 1) on conflict do nothing;
            """,
            new
            {
                sha,
                otherSha = new string('b', 64),
                model = Guid.CreateVersion7(),
                dataset = Guid.CreateVersion7(),
                other = Guid.CreateVersion7(),
            });
        var catalogue = new Catalogue(
            [new PlannableDevice(device, "board", DeviceKind.Real, DeviceState.Ready, null)],
            [new PlannableModel(await store.ScalarAsync<Guid>("select id from model"), "model", false, true, 512)],
            [
                new PlannableDataset(await store.ScalarAsync<Guid>("select id from dataset where name = 'text'"), "text", sha),
                new PlannableDataset(await store.ScalarAsync<Guid>("select id from dataset where name = 'other'"), "other", new string('b', 64)),
            ]);
        var spec = new MatrixSpec("matrix", ["board"], ["model"], precisions ?? ["fp16", "w8a8"], [workload],
            new PolicySpec(Rounds: 1, MaxAttempts: maxAttempts), calibration);
        var plan = MatrixPlanner.Plan(spec, catalogue);
        return (await new MatrixStore(store.Database).AddAsync(spec, plan, "tester", Ct), plan);
    }

    public async Task<Guid> StartAttemptAsync()
    {
        var id = Guid.CreateVersion7();
        await Attempts.StartAsync(Lease, new NewAttempt(id, Job.Id, "plan", "engine", "0.1", null, null, null, "test", null), Ct);
        await Attempts.RunningAsync(Lease, id, Ct);
        return id;
    }

    /// <summary>A complete outcome: every block done, a speed for every run.</summary>
    public StagedOutcome Complete() => new(
        [.. Job.Blocks.Select(b => new StagedBlock(b.Index, "done", null, 16, 1, 2, [100, 110], [120]))], [],
        [.. Plan.Runs.Select(r => new StagedResult(r.Id, "speed", """{"threads":1}""", null))]);

    public Task<string?> JobStateAsync() => Store.ScalarAsync<string>("select state from job where id = @Id", new { Job.Id });
}
