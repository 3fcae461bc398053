using AgileQuant.Dashboard.Hosting;
using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Domain;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Dashboard.Components.Pages;

/// <summary>Puts a matrix together and shows what it would do before it is started.</summary>
public sealed partial class NewMatrix : IDisposable
{
    private static readonly TimeSpan TypingPause = TimeSpan.FromMilliseconds(200);

    private readonly SpecDraft _draft = new();
    private readonly CancellationTokenSource _gone = new();
    private CancellationTokenSource? _planning;
    private IReadOnlyList<DeviceView> _devices = [];
    private IReadOnlyList<ModelView> _models = [];
    private IReadOnlyList<DatasetView> _datasets = [];
    private IReadOnlyList<string> _missing = [];
    private MatrixPlanView? _plan;
    private string _dataset = "";
    private string _calibration = "";
    private string _precision = "";
    private string? _precisionError;
    private string? _planError;
    private string? _loadError;
    private bool _loaded;
    private bool _starting;

    [Inject] private IDeviceService Devices { get; set; } = null!;

    [Inject] private IAssetService Service { get; set; } = null!;

    [Inject] private IMatrixService Matrices { get; set; } = null!;

    [Inject] private ILogger<NewMatrix> Log { get; set; } = null!;

    [Inject] private NavigationManager Navigation { get; set; } = null!;

    private bool CanStart => _plan is not null && _missing.Count == 0 && !_starting && !string.IsNullOrWhiteSpace(_draft.Name);

    protected override Task OnInitializedAsync() => LoadAsync();

    private async Task LoadAsync()
    {
        try
        {
            _devices = [.. (await Devices.ListAsync(_gone.Token)).Where(d => d.State is not DeviceState.Retired)];
            _models = await Service.ListModelsAsync(_gone.Token);
            _datasets = await Service.ListDatasetsAsync(_gone.Token);
            (_loaded, _loadError) = (true, null);
            _missing = _draft.Missing(_models);
        }
        catch (OperationCanceledException) when (_gone.IsCancellationRequested)
        {
            // The page was left.
        }
        catch (Exception error)
        {
            _loadError = Problem.Of(error, Log, "Loading this page");
        }
    }

    private Task ToggleAsync(HashSet<string> set, string name, ChangeEventArgs e)
    {
        _ = e.Value is true ? set.Add(name) : set.Remove(name);
        return PlanSoonAsync();
    }

    private Task AddPrecisionAsync()
    {
        _precisionError = _draft.Add(_precision);
        if (_precisionError is not null)
        {
            return Task.CompletedTask;
        }

        _precision = "";
        return PlanSoonAsync();
    }

    /// <summary>Plans after a short pause in typing; a newer change replaces an older plan that is still being worked out.</summary>
    private async Task PlanSoonAsync()
    {
        if (_planning is not null)
        {
            await _planning.CancelAsync();
            _planning.Dispose();
        }

        _planning = CancellationTokenSource.CreateLinkedTokenSource(_gone.Token);
        var ct = _planning.Token;
        _draft.Dataset = _dataset.Length == 0 ? null : _dataset;
        _calibration = _calibration == _dataset ? "" : _calibration; // what is scored is no longer offered
        _draft.Calibration = _calibration.Length == 0 ? null : _calibration;
        _missing = _draft.Missing(_models);
        (_plan, _planError) = (null, null);
        if (_missing.Count > 0)
        {
            return;
        }

        try
        {
            await Task.Delay(TypingPause, ct);
            var spec = _draft.ToSpec(_models);
            var plan = await Matrices.PlanAsync(spec.Name.Length == 0 ? spec with { Name = "unnamed" } : spec, ct);
            if (!ct.IsCancellationRequested)
            {
                _plan = plan;
            }
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            // A newer change took over, or the page was left.
        }
        catch (Exception error)
        {
            _planError = Problem.Of(error, Log, "Planning");
        }
    }

    private async Task StartAsync()
    {
        if (!CanStart)
        {
            return;
        }

        _starting = true;
        try
        {
            var id = await Matrices.StartAsync(_draft.ToSpec(_models), DashboardAuth.UserName, _gone.Token);
            Navigation.NavigateTo($"/matrices/{id}");
        }
        catch (OperationCanceledException) when (_gone.IsCancellationRequested)
        {
            // The page was left; the matrix may have been started and is in the list then.
        }
        catch (Exception error)
        {
            _planError = Problem.Of(error, Log, "Starting the matrix");
            _plan = null;
        }
        finally
        {
            _starting = false;
        }
    }

    private static string Meaning(string precision) => precision switch
    {
        "fp16" => "the baseline",
        "bf16" => "a second 16-bit path, where the CPU has it",
        "w8a8" => "8-bit weights and activations",
        "w4a8" => "4-bit weights, 8-bit activations",
        "w4a4" => "4-bit weights and activations",
        _ when PrecisionNames.NeedsCalibration(precision) => "with a calibration text",
        _ => "with options",
    };

    public void Dispose()
    {
        _gone.Cancel();
        _planning?.Dispose();
        _gone.Dispose();
    }
}
