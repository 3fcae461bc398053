namespace AgileQuant.Orchestrator.Ownership;

/// <summary>
/// Which node drives which device. Implementations decide who asks; that two drivers never both write is the work of the
/// lease's epoch in Postgres in every implementation. All calls are safe to repeat.
/// </summary>
public interface IDeviceOwnership
{
    /// <summary>Name for the status page.</summary>
    string Name { get; }

    /// <summary>
    /// Takes leases of devices that have something to do (work, a wish, a visit that is due) and no live owner, at most this
    /// node's fair share over live nodes.
    /// </summary>
    /// <param name="held">Devices that this node drives now.</param>
    /// <param name="ct">Stops waiting.</param>
    Task<IReadOnlyList<DeviceLease>> AcquireAsync(int held, CancellationToken ct = default);

    /// <summary>Renews what is still this node's; a lease that is missing in the answer is lost.</summary>
    Task<IReadOnlyList<DeviceLease>> RenewAsync(IReadOnlyCollection<DeviceLease> leases, CancellationToken ct = default);

    /// <summary>Gives a device back, so that another node may take it at once. Nothing happens when the lease is lost already.</summary>
    Task ReleaseAsync(DeviceLease lease, CancellationToken ct = default);
}
