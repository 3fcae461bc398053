namespace AgileQuant.Orchestrator.Ownership;

/// <summary>Ownership by the lease columns alone: every node takes its fair share. Needs no other package than Npgsql.</summary>
public sealed class PostgresLeaseOwnership(LeaseStore store, OrchestratorOptions options) : IDeviceOwnership
{
    public const string ImplementationName = "Postgres leases";

    public string Name => ImplementationName;

    public Task<IReadOnlyList<DeviceLease>> AcquireAsync(int held, CancellationToken ct = default) =>
        store.TakeShareAsync(Math.Max(0, options.MaxDevices - held), ct);

    public Task<IReadOnlyList<DeviceLease>> RenewAsync(IReadOnlyCollection<DeviceLease> leases, CancellationToken ct = default) =>
        store.RenewAsync(leases, ct);

    public async Task<IReadOnlyCollection<Guid>> SurplusAsync(CancellationToken ct = default) => await store.SurplusAsync(ct);

    public Task ReleaseAsync(DeviceLease lease, CancellationToken ct = default) => store.ReleaseAsync(lease, ct);

    /// <summary>The database's notifications wake every node already.</summary>
    public Task WakeAsync(Guid deviceId, CancellationToken ct = default) => Task.CompletedTask;
}
