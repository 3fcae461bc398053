using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Logging;
using Radzen;

namespace AgileQuant.Dashboard.Components.Dialogs;

/// <summary>Registers a board: address, then its host key for a person to confirm, then what its driver does with it.</summary>
public sealed partial class AddDeviceDialog : IAsyncDisposable
{
    private string _address = "";
    private string _name = "";
    private string _identity = "";
    private DeviceKind _kind;
    private HostKeyView? _key;
    private DeviceView? _added;
    private LiveUpdates? _updates;
    private string? _error;
    private bool _busy;

    [Inject] private IDeviceService Devices { get; set; } = null!;

    [Inject] private IChangeFeed Feed { get; set; } = null!;

    [Inject] private DialogService Dialogs { get; set; } = null!;

    [Inject] private ILogger<AddDeviceDialog> Log { get; set; } = null!;

    private string Address
    {
        get => _address;
        set
        {
            var suggested = DeviceNaming.Suggest(_address);
            _address = value;
            if (_name.Length == 0 || _name == suggested)
            {
                _name = DeviceNaming.Suggest(value);
            }
        }
    }

    private string Command => DeviceNaming.FingerprintCommand(_key!.Algorithm);

    private IEnumerable<(string Text, string Tone)> Steps()
    {
        var device = _added!;
        yield return ("Host key pinned", "done");
        yield return ("Connect and probe: CPU, memory, temperature, clocks", device.Facts is null ? Now(device) : "done");
        yield return ("Push the engine and self-test every kernel on this CPU",
            device.SelfTest is { } test ? test.Passed ? "done" : "failed" : device.Facts is null ? "later" : Now(device));
        yield return ("Ready for jobs", device.State is DeviceState.Registering or DeviceState.Bad or DeviceState.Offline ? "later" : "done");
    }

    private static string Now(DeviceView device) => device.State is DeviceState.Bad or DeviceState.Offline ? "failed" : "now";

    private Task FetchAsync() => TryAsync(async () =>
    {
        DeviceNaming.Check(_name.Trim());
        _key = await Devices.FetchHostKeyAsync(_address.Trim());
    });

    private Task AddAsync() => TryAsync(async () =>
    {
        var name = _name.Trim();
        DeviceNaming.Check(name);
        var identity = string.IsNullOrWhiteSpace(_identity) ? null : _identity.Trim();
        _added = await Devices.AddAsync(new(name, _address.Trim(), _key!.Fingerprint, identity, _kind));
        _updates = new(Feed, change => change.Topic == "device", ct => InvokeAsync(() => FollowAsync(ct)));
        _updates.Poke();
    });

    private async Task FollowAsync(CancellationToken ct)
    {
        _added = await Devices.FindAsync(_added!.Id.ToString(), ct) ?? _added;
        StateHasChanged();
    }

    private async Task TryAsync(Func<Task> action)
    {
        (_busy, _error) = (true, null);
        try
        {
            await action();
        }
        catch (Exception error)
        {
            _error = Problem.Of(error, Log, "Adding the board");
        }
        finally
        {
            _busy = false;
        }
    }

    private void Back() => (_key, _error) = (null, null);

    private void Close() => Dialogs.Close(_added?.Name);

    public async ValueTask DisposeAsync()
    {
        if (_updates is not null)
        {
            await _updates.DisposeAsync();
        }
    }
}
