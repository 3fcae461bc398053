using System.Text.RegularExpressions;
using AgileQuant.Agent;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Ownership;
using AgileQuant.Orchestrator.Storage;

namespace AgileQuant.Orchestrator.Services;

/// <inheritdoc cref="IDeviceService"/>
public sealed partial class DeviceService(Database database, DeviceStore devices, MatrixStore matrices, TelemetryStore telemetry, IRemoteShellFactory shells, IDeviceOwnership ownership)
    : IDeviceService
{
    public async Task<IReadOnlyList<DeviceView>> ListAsync(CancellationToken ct = default) =>
        [.. (await devices.ListAsync(ct)).Select(d => d.ToView())];

    public async Task<DeviceView?> FindAsync(string nameOrId, CancellationToken ct = default) => (await RowAsync(nameOrId, ct))?.ToView();

    public async Task<HostKeyView> FetchHostKeyAsync(string address, CancellationToken ct = default)
    {
        try
        {
            var key = await shells.FetchHostKeyAsync(Parse(address), ct);
            return new HostKeyView(key.Algorithm, key.Fingerprint);
        }
        catch (RemoteShellException e)
        {
            throw new UserErrorException(e.Message, e);
        }
    }

    public async Task<DeviceView> AddAsync(AddDeviceRequest request, CancellationToken ct = default)
    {
        if (!NamePattern().IsMatch(request.Name))
            throw new UserErrorException($"'{request.Name}' is no device name: use 1 to 63 of a-z, 0-9 and '-', starting with a letter, for example pi4.");
        if (!FingerprintPattern().IsMatch(request.HostKeyFingerprint))
            throw new UserErrorException($"'{request.HostKeyFingerprint}' is no host key fingerprint: it looks like SHA256: and 43 characters.");
        var identity = request.IdentityFile is { } named ? UserFiles.Expand(named) : null;
        if (identity is not null && !(Path.IsPathFullyQualified(identity) && File.Exists(identity)))
            throw new UserErrorException($"The identity file '{identity}' must be the full path of a private key on the node's machine.");
        var address = Parse(request.Address).ToString();
        if ((await devices.ListAsync(ct)).FirstOrDefault(d => d.Address == address && d.HostKey == request.HostKeyFingerprint) is { } same
            && same.Name != request.Name)
        {
            throw new UserErrorException(
                $"The board at {address} is device '{same.Name}' already: use that name, or remove it first (bench device remove {same.Name}).");
        }

        var id = Guid.CreateVersion7();
        var added = await devices.AddAsync(id, request with { Address = address, IdentityFile = identity }, ct);
        if (!added)
        {
            throw new UserErrorException(await devices.FindAsync(request.Name, ct) is null
                ? $"There are {Limits.Devices} devices already, which is the limit: remove some first."
                : $"There is a device '{request.Name}' already: choose another name, or remove that one first (bench device remove {request.Name}).");
        }

        await AuditAsync("device add", id, request.Name, ct);
        return (await devices.FindAsync(id, ct))!.ToView();
    }

    public async Task CheckAsync(string nameOrId, CancellationToken ct = default)
    {
        var device = await RequiredAsync(nameOrId, ct);
        await devices.RequestCheckAsync(device.Id, adopt: false, ct);
        await ownership.WakeAsync(device.Id, ct);
    }

    public async Task AdoptAsync(string nameOrId, CancellationToken ct = default)
    {
        var device = await RequiredAsync(nameOrId, ct);
        await devices.RequestCheckAsync(device.Id, adopt: true, ct);
        await ownership.WakeAsync(device.Id, ct);
        await AuditAsync("device adopt", device.Id, device.Name, ct);
    }

    public async Task RemoveAsync(string nameOrId, bool force, CancellationToken ct = default)
    {
        var device = await RequiredAsync(nameOrId, ct);
        var open = await database.FirstAsync<int>(
            "select count(*) from job where device_id = @Id and state in ('waiting', 'running')", new { device.Id }, ct);
        if (open > 0 && !force)
            throw new UserErrorException($"Device {device.Name} has {open} jobs to do: wait for them, cancel their matrices, or use --force to cancel them.");
        await devices.RetireAsync(device.Id, ct);
        await matrices.CancelDeviceAsync(device.Id, ct);
        await ownership.WakeAsync(device.Id, ct);
        await AuditAsync("device remove", device.Id, device.Name, ct);
    }

    public Task<IReadOnlyList<TelemetryPoint>> TelemetryAsync(Guid deviceId, int limit, CancellationToken ct = default) =>
        telemetry.OfDeviceAsync(deviceId, Math.Clamp(limit, 1, Limits.TelemetryPoints), ct);

    private Task<DeviceRow?> RowAsync(string nameOrId, CancellationToken ct) =>
        Guid.TryParse(nameOrId, out var id) ? devices.FindAsync(id, ct) : devices.FindAsync(nameOrId, ct);

    private async Task<DeviceRow> RequiredAsync(string nameOrId, CancellationToken ct) =>
        await RowAsync(nameOrId, ct) is { State: not "retired" } row
            ? row
            : throw new UserErrorException($"There is no device '{nameOrId}': bench device list shows all.");

    private Task<int> AuditAsync(string what, Guid id, string name, CancellationToken ct) =>
        database.ExecuteAsync("insert into audit (who, what, subject, details) values ('operator', @what, @id, @name)", new { what, id, name }, ct);

    private static DeviceAddress Parse(string address)
    {
        try
        {
            return DeviceAddress.Parse(address.Trim());
        }
        catch (FormatException e)
        {
            throw new UserErrorException(e.Message, e);
        }
    }

    [GeneratedRegex("^[a-z][a-z0-9-]{0,62}$", RegexOptions.None, 1000)]
    private static partial Regex NamePattern();

    [GeneratedRegex("^SHA256:[A-Za-z0-9+/]{43}$", RegexOptions.None, 1000)]
    private static partial Regex FingerprintPattern();
}
