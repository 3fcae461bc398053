namespace AgileQuant.Orchestrator.Orleans.Devices;

/// <summary>
/// One board. It sees to it that some node drives it, and knows what that node does. The driver runs beside the grain: no method
/// here waits for a run, and no write is allowed by the grain, only by the lease's epoch.
/// </summary>
public interface IDeviceGrain : IGrainWithGuidKey
{
    /// <summary>
    /// Called by whoever sees a device with work and no live lease. The grain, placed on the node with the most room, takes the lease
    /// for its node. It does nothing when the lease is live elsewhere.
    /// </summary>
    Task<DriveAnswer> EnsureDrivenAsync();

    /// <summary>Somebody wishes something of the device: its driver looks at the rows at once.</summary>
    Task WakeAsync();

    /// <summary>Who drives it and what happens on it now.</summary>
    Task<DeviceLiveState> GetStateAsync();
}

/// <summary>What came of asking for a driver.</summary>
public enum DriveAnswer
{
    /// <summary>The grain's node drives it.</summary>
    Driven,

    /// <summary>No lease could be had there: it is live elsewhere, nothing is to do, or that node has its share. The grain has ended; another try is placed anew.</summary>
    NotHere,
}

/// <summary>A device as its grain sees it.</summary>
/// <param name="NodeId">Node that drives it; null: none now.</param>
/// <param name="Node">Its name.</param>
/// <param name="Epoch">Of its lease, or of the last one.</param>
/// <param name="Doing">What happens on it, in words.</param>
/// <param name="Since">When that began.</param>
/// <param name="Silo">Silo that the grain runs in.</param>
[GenerateSerializer, Immutable]
public sealed record DeviceLiveState(Guid? NodeId, string? Node, long Epoch, string Doing, DateTimeOffset? Since, string Silo);
