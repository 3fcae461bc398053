namespace AgileQuant.Orchestrator.Ownership;

/// <summary>
/// Which node drives which device. Implementations decide who asks; that two drivers never both write is the work of the
/// lease's epoch in Postgres (<see cref="LeaseStore"/>) in every implementation. All calls are safe to repeat.
/// </summary>
public interface IDeviceOwnership
{
    /// <summary>Name for the status page and reports.</summary>
    string Name { get; }

    /// <summary>
    /// Leases that are new on this node, of devices that have something to do (work, a wish, a visit that is due) and had no live
    /// owner; by fair share over live nodes. Called by every node at least each third of a lease time.
    /// </summary>
    /// <param name="held">Devices that this node drives now.</param>
    /// <param name="ct">Stops waiting.</param>
    Task<IReadOnlyList<DeviceLease>> AcquireAsync(int held, CancellationToken ct = default);

    /// <summary>Renews what is still this node's; a lease that is missing in the answer is lost.</summary>
    Task<IReadOnlyList<DeviceLease>> RenewAsync(IReadOnlyCollection<DeviceLease> leases, CancellationToken ct = default);

    /// <summary>
    /// Devices of this node that others should have by fair share (a node has joined). The caller stops their drivers, which leaves
    /// what runs on the boards as it is, and releases them.
    /// </summary>
    Task<IReadOnlyCollection<Guid>> SurplusAsync(CancellationToken ct = default);

    /// <summary>Gives a device back, so that another node may take it at once. Nothing happens when the lease is lost already.</summary>
    Task ReleaseAsync(DeviceLease lease, CancellationToken ct = default);

    /// <summary>Somebody wishes something of a device (cancel, check, removal): its driver, wherever it is, looks at the rows at once.</summary>
    Task WakeAsync(Guid deviceId, CancellationToken ct = default);
}
