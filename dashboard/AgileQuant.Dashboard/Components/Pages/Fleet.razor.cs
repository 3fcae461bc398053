using AgileQuant.Dashboard.Components.Controls;
using AgileQuant.Dashboard.Components.Dialogs;
using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Radzen;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>All boards with their state.</summary>
public sealed partial class Fleet : LivePage
{
    private IReadOnlyList<DeviceView> _devices = [];
    private FleetFilter _filter = new();

    [Inject] private IDeviceService Devices { get; set; } = null!;

    [Inject] private DialogService Dialogs { get; set; } = null!;

    [Inject] private TimeProvider Clock { get; set; } = null!;

    private DateTimeOffset Now => Clock.GetUtcNow();

    private List<DeviceView> Shown => [.. _devices.Where(_filter.Admits)];

    private string Lead => _devices.Count == 0 ? "Boards that this cluster benchmarks."
        : string.Join(" · ", _devices.GroupBy(d => d.State).OrderBy(g => g.Key).Select(g => $"{g.Count()} {Words.Of(g.Key).Text}"));

    protected override bool Concerns(ChangeEvent change) => change.Topic is "device" or "node";

    protected override async Task LoadAsync(CancellationToken ct)
    {
        _filter = FleetFilter.Parse(new Uri(Navigation.Uri).Query);
        _devices = await Devices.ListAsync(ct);
    }

    private async Task AddAsync()
    {
        await Dialogs.OpenAsync<AddDeviceDialog>("Add a board", options: new DialogOptions { Width = "36rem", CloseDialogOnOverlayClick = false });
        await ReloadAsync();
    }

    private void Filter(FleetFilter filter)
    {
        _filter = filter;
        ReplaceQuery(filter.ToQuery());
    }

    private static string? Blank(ChangeEventArgs e) => e.Value?.ToString() is { Length: > 0 } text ? text : null;

    private static T? Pick<T>(ChangeEventArgs e) where T : struct, Enum => Enum.TryParse<T>(e.Value?.ToString(), out var value) ? value : null;
}
