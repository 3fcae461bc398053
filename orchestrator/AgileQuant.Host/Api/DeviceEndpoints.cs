using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Api;

/// <summary>/api/v1/devices.</summary>
internal static class DeviceEndpoints
{
    private const int MaxTelemetryPoints = 2000;

    public static void Map(RouteGroupBuilder devices)
    {
        devices.MapGet("", (IDeviceService service, CancellationToken ct) => service.ListAsync(ct))
            .WithName("listDevices").WithSummary("All devices that are not retired.").Produces<IReadOnlyList<DeviceView>>();
        devices.MapPost("", (AddDeviceRequest request, IDeviceService service, CancellationToken ct) => service.AddAsync(request, ct))
            .WithName("addDevice").WithSummary("Registers a board; it is probed and self-tested by its driver.")
            .Produces<DeviceView>().ProducesProblem(400);
        devices.MapPost("/host-key", (HostKeyRequest request, IDeviceService service, CancellationToken ct) =>
                service.FetchHostKeyAsync(request.Address, ct))
            .WithName("fetchHostKey").WithSummary("Asks a host for its key, for a person to confirm.")
            .Produces<HostKeyView>().ProducesProblem(400);
        devices.MapGet("/{device}", async (string device, IDeviceService service, CancellationToken ct) =>
                await service.FindAsync(device, ct) is { } view ? Results.Ok(view) : Missing(device))
            .WithName("getDevice").WithSummary("One device by name or id.").Produces<DeviceView>().ProducesProblem(404);
        devices.MapPost("/{device}/check", async (string device, IDeviceService service, CancellationToken ct) =>
            {
                if (await service.FindAsync(device, ct) is null)
                    return Missing(device);
                await service.CheckAsync(device, ct);
                return Results.Accepted();
            })
            .WithName("checkDevice").WithSummary("Probes and self-tests the device again.")
            .Produces(202).ProducesProblem(404);
        devices.MapPost("/{device}/adopt", async (string device, IDeviceService service, CancellationToken ct) =>
            {
                if (await service.FindAsync(device, ct) is null)
                    return Missing(device);
                await service.AdoptAsync(device, ct);
                return Results.Accepted();
            })
            .WithName("adoptDevice").WithSummary("Takes over a board of another cluster: what runs there is stopped, then it is checked.")
            .Produces(202).ProducesProblem(404);
        devices.MapDelete("/{device}", async (string device, bool? force, IDeviceService service, CancellationToken ct) =>
            {
                if (await service.FindAsync(device, ct) is null)
                    return Missing(device);
                await service.RemoveAsync(device, force ?? false, ct);
                return Results.NoContent();
            })
            .WithName("removeDevice").WithSummary("Retires a device; force cancels what runs on it.")
            .Produces(204).ProducesProblem(400).ProducesProblem(404);
        devices.MapGet("/{device}/telemetry", async (string device, int? limit, IDeviceService service, CancellationToken ct) =>
                await service.FindAsync(device, ct) is { } view
                    ? Results.Ok(await service.TelemetryAsync(view.Id, Math.Clamp(limit ?? 200, 1, MaxTelemetryPoints), ct))
                    : Missing(device))
            .WithName("deviceTelemetry").WithSummary("Recent telemetry, oldest first.")
            .Produces<IReadOnlyList<TelemetryPoint>>().ProducesProblem(404);
    }

    private static IResult Missing(string device) => RestApi.Missing("device", device, "bench device list");
}
