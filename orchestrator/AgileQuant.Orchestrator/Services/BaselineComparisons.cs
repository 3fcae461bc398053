using System.Text.Json;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Measurement;
using Microsoft.Extensions.Logging;

namespace AgileQuant.Orchestrator.Services;

/// <summary>Reads what <c>bench perf engine</c> recorded in this node's home. A file that cannot be read counts as no comparison.</summary>
public sealed partial class BaselineComparisons(OrchestratorOptions options, ILogger<BaselineComparisons> logger)
{
    private const long MaxBytes = 1 << 20;

    /// <summary>One note for each kernel set among the matrix's speeds, in ordinal order.</summary>
    public IReadOnlyList<BaselineNote> For(IEnumerable<RunSummaryView> runs) =>
        [.. runs.Where(r => r.DeviceKind == DeviceKind.Real).Select(r => r.Speed?.Isa).OfType<string>().Distinct()
            .Order(StringComparer.Ordinal).Select(isa => BaselineStanding.Of(isa, Read(isa)))];

    private EngineComparison? Read(string isa)
    {
        // The name comes from an engine on a board: it must not lead out of the folder.
        if (isa.Length > 64 || !isa.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'))
            return null;
        var path = Path.Combine(options.PerfFolder, $"engine-{isa}.json");
        try
        {
            if (!File.Exists(path) || new FileInfo(path).Length > MaxBytes)
                return null;
            var read = JsonSerializer.Deserialize<EngineComparison>(File.ReadAllText(path), Storage.Json.Options);
            return read is { Format: EngineComparison.FormatVersion, Against: not null, Ratios: not null, Model: not null } && read.Isa == isa ? read : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            LogUnreadable(path, e.Message);
            return null;
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Path} cannot be read, so reports say that nothing was compared: {Reason}")]
    private partial void LogUnreadable(string path, string reason);
}
