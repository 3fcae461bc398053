using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Dashboard.Components.Dialogs;
using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Logging;
using Radzen;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>One board: facts, self-test, telemetry, jobs.</summary>
public sealed partial class Device : LivePage
{
    private const int TelemetryPoints = 360;
    private const int RecentMatrices = 5;

    private DeviceView? _device;
    private IReadOnlyList<TelemetryPoint> _telemetry = [];
    private IReadOnlyList<JobView> _jobs = [];
    private string? _message;
    private bool _failed;
    private bool _busy;
    private string? _loadedName;

    /// <summary>The board's name, from the address.</summary>
    [Parameter] public string Name { get; set; } = "";

    [Inject] private IDeviceService Devices { get; set; } = null!;

    [Inject] private IMatrixService Matrices { get; set; } = null!;

    [Inject] private DialogService Dialogs { get; set; } = null!;

    [Inject] private ILogger<Device> Log { get; set; } = null!;

    [Inject] private TimeProvider Clock { get; set; } = null!;

    private DateTimeOffset Now => Clock.GetUtcNow();

    protected override bool Concerns(ChangeEvent change) => change.Topic == "matrix" || (change.Topic == "device" && (_device is null || change.Id == _device.Id));

    protected override async Task OnParametersSetAsync()
    {
        if (_loadedName is not null && _loadedName != Name)
        {
            _message = null;
            await ReloadAsync();
        }
    }

    protected override async Task LoadAsync(CancellationToken ct)
    {
        _loadedName = Name;
        _device = await Devices.FindAsync(Name, ct);
        if (_device is null)
        {
            return;
        }

        _telemetry = await Devices.TelemetryAsync(_device.Id, TelemetryPoints, ct);
        var jobs = new List<JobView>();
        foreach (var matrix in await Matrices.ListAsync(RecentMatrices, ct))
        {
            var found = await Matrices.FindAsync(matrix.Id.ToString(), ct);
            jobs.AddRange(found?.Jobs.Where(j => j.Device == _device.Name) ?? []);
        }

        _jobs = [.. jobs.OrderByDescending(j => j.StartedAt ?? j.CreatedAt).Take(20)];
    }

    private Task CheckAsync() => DoAsync(async () =>
    {
        await Devices.CheckAsync(_device!.Name, Gone);
        return "Asked for a check: the board is probed and every kernel self-tested again as soon as it is free.";
    });

    private async Task AdoptAsync()
    {
        if (!await ConfirmDialog.AskAsync(Dialogs, $"Take over {_device!.Name}?",
            "This board obeys another cluster. Taking it over stops what that cluster runs there, and the other cluster can no longer use it.",
            "Take over the board", "confirm-adopt", "The board is checked then. Make sure that nobody else is measuring on it.", "Leave it"))
        {
            return;
        }

        await DoAsync(async () =>
        {
            await Devices.AdoptAsync(_device.Name, Gone);
            return "Asked to take it over: what the other cluster runs there is stopped, then the board is probed and self-tested.";
        });
    }

    private async Task RemoveAsync()
    {
        var busy = _device!.State is DeviceState.Busy;
        if (!await ConfirmDialog.AskAsync(Dialogs, $"Remove {_device.Name}?",
            busy ? "A job runs on this board. Removing the board cancels it." : "The board is retired: no more jobs run on it.",
            busy ? "Cancel the job and remove" : "Remove the board", "confirm-remove", "Finished results and reports stay. You can add it again later."))
        {
            return;
        }

        await DoAsync(async () =>
        {
            await Devices.RemoveAsync(_device.Name, busy, Gone);
            Navigation.NavigateTo("/");
            return null;
        });
    }

    private async Task DoAsync(Func<Task<string?>> action)
    {
        (_busy, _failed) = (true, false);
        try
        {
            _message = await action();
        }
        catch (OperationCanceledException) when (Gone.IsCancellationRequested)
        {
            // The page was left.
        }
        catch (Exception error)
        {
            (_message, _failed) = (Problem.Of(error, Log, "That"), true);
        }
        finally
        {
            _busy = false;
        }
    }

    private static string Cores(DeviceFactsView facts) =>
        string.Join(" + ", facts.Cores.GroupBy(c => c.MaxMhz).Select(g => g.Key is null ? $"{g.Count()} cores" : $"{g.Count()} cores at {Format.Clock(g.Key)}"));
}
