using AgileQuant.Dashboard.Model;
using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Dashboard.Components.Controls;

/// <summary>
/// A page that follows changes. It loads once, then again after changes that concern it (batched, see <see cref="LiveUpdates"/>)
/// and every 15 seconds, which keeps ages right and covers a lost notification.
/// </summary>
public abstract class LivePage : ComponentBase, IAsyncDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(15);
    private readonly CancellationTokenSource _gone = new();
    private LiveUpdates? _updates;
    private Timer? _tick;

    [Inject] private IChangeFeed Feed { get; set; } = null!;

    [Inject] private ILoggerFactory Loggers { get; set; } = null!;

    [Inject] protected NavigationManager Navigation { get; set; } = null!;

    /// <summary>True once data was there; it stays while later loads fail.</summary>
    protected bool Loaded { get; private set; }

    /// <summary>Why the last load failed, for the user; null when it did not.</summary>
    protected string? LoadError { get; private set; }

    /// <summary>Cancelled when the page is left.</summary>
    protected CancellationToken Gone => _gone.Token;

    /// <summary>Whether the page stands still.</summary>
    public bool Paused => _updates?.Paused ?? false;

    /// <summary>Pauses or resumes; resuming shows what was missed.</summary>
    public void TogglePause()
    {
        if (_updates is not null)
        {
            _updates.Paused = !_updates.Paused;
            StateHasChanged();
        }
    }

    /// <summary>Whether a change is one to look at again for.</summary>
    protected abstract bool Concerns(ChangeEvent change);

    /// <summary>Reads the page's data. Called on the circuit's own thread of control.</summary>
    protected abstract Task LoadAsync(CancellationToken ct);

    /// <summary>Loads now, for instance after the user did something.</summary>
    protected async Task ReloadAsync()
    {
        try
        {
            await LoadAsync(Gone);
            (Loaded, LoadError) = (true, null);
        }
        catch (OperationCanceledException) when (Gone.IsCancellationRequested)
        {
            return;
        }
        catch (UserErrorException error)
        {
            LoadError = error.Message;
        }
        catch (Exception error)
        {
            Loggers.CreateLogger(GetType()).LogError(error, "Loading {Page} failed", GetType().Name);
            LoadError = "This page could not be loaded; the node's log says why. It is tried again by itself.";
        }

        StateHasChanged();
    }

    protected override async Task OnInitializedAsync()
    {
        await ReloadAsync();
        if (!Gone.IsCancellationRequested)
        {
            _updates = new(Feed, Concerns, _ => InvokeAsync(ReloadAsync));
            _tick = new(_ => _updates.Poke(), null, Tick, Tick);
        }
    }

    /// <summary>Puts filters into the address without a new history entry.</summary>
    protected void ReplaceQuery(string query) =>
        Navigation.NavigateTo(new Uri(Navigation.Uri).AbsolutePath + query, replace: true);

    public async ValueTask DisposeAsync()
    {
        await _gone.CancelAsync();
        if (_tick is not null)
        {
            await _tick.DisposeAsync();
        }

        if (_updates is not null)
        {
            await _updates.DisposeAsync();
        }

        _gone.Dispose();
        GC.SuppressFinalize(this);
    }
}
