namespace AgileQuant.Orchestrator.Ownership;

/// <summary>The right to drive a device.</summary>
/// <param name="Epoch">Higher than that of every earlier lease of the device; every write by a driver carries it.</param>
/// <param name="Until">End by the database's clock, unless it is renewed.</param>
public sealed record DeviceLease(Guid DeviceId, long Epoch, DateTimeOffset Until);

/// <summary>A driver's write found that its lease is no longer the device's. The driver stops at once and leaves everything as it is.</summary>
public sealed class LeaseLostException : Exception
{
    public LeaseLostException()
    {
    }

    public LeaseLostException(string message)
        : base(message)
    {
    }

    public LeaseLostException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    public LeaseLostException(DeviceLease lease)
        : base($"the lease of device {lease.DeviceId} with epoch {lease.Epoch} is no longer ours")
    {
    }
}
