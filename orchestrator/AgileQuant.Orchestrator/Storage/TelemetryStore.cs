using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Storage;

/// <summary>Telemetry, one row a chunk of points.</summary>
public sealed class TelemetryStore(Database database)
{
    /// <summary>The newest points of a device, oldest first.</summary>
    public async Task<IReadOnlyList<TelemetryPoint>> OfDeviceAsync(Guid deviceId, int limit, CancellationToken ct)
    {
        var chunks = await database.QueryAsync<string>(
            "select points from telemetry where device_id = @deviceId order by id desc limit @limit",
            new { deviceId, limit = Math.Clamp(limit, 1, 1000) }, ct);
        chunks.Reverse();
        return [.. Points(chunks).TakeLast(limit)];
    }

    /// <summary>All points of some attempts, in order, thinned to at most <paramref name="limit"/>.</summary>
    public async Task<IReadOnlyList<TelemetryPoint>> OfAttemptsAsync(IReadOnlyCollection<Guid> attempts, int limit, CancellationToken ct)
    {
        var points = Points(await database.QueryAsync<string>(
            "select points from telemetry where attempt_id = any(@attempts) order by id limit 10000",
            new { attempts = attempts.ToArray() }, ct)).ToList();
        var step = Math.Max(1, (points.Count + limit - 1) / limit);
        return [.. points.Where((_, i) => i % step == 0)];
    }

    private static IEnumerable<TelemetryPoint> Points(IEnumerable<string> chunks) =>
        chunks.SelectMany(c => Json.Read<List<TelemetryPoint>>(c) ?? []);
}
