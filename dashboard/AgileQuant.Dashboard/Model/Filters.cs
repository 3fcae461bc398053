using AgileQuant.Orchestrator.Contracts;
using Microsoft.AspNetCore.WebUtilities;

namespace AgileQuant.Dashboard.Model;

/// <summary>Filters of the matrix page. They live in the address, so that a view can be sent to somebody.</summary>
/// <param name="Metric">Null: the one that has most to show.</param>
internal sealed record MatrixFilter(Metric? Metric = null, string? Model = null, string? Workload = null, RunState? State = null)
{
    internal static MatrixFilter Parse(string? query)
    {
        var values = QueryHelpers.ParseQuery(query);
        return new(QueryText.Enum<Metric>(values, "metric"), QueryText.Text(values, "model"), QueryText.Text(values, "workload"), QueryText.Enum<RunState>(values, "state"));
    }

    internal string ToQuery() => QueryText.Build(("metric", QueryText.Name(Metric)), ("model", Model), ("workload", Workload), ("state", QueryText.Name(State)));

    internal bool Admits(RunSummaryView run) =>
        (Model is null || run.Model == Model) && (Workload is null || run.Workload == Workload) && (State is null || run.State == State);

    internal bool Admits(HeatGroup group) => (Model is null || group.Model == Model) && (Workload is null || group.Workload == Workload);
}

/// <summary>Filters of the fleet page.</summary>
internal sealed record FleetFilter(string? Text = null, DeviceState? State = null, DeviceKind? Kind = null)
{
    internal static FleetFilter Parse(string? query)
    {
        var values = QueryHelpers.ParseQuery(query);
        return new(QueryText.Text(values, "q"), QueryText.Enum<DeviceState>(values, "state"), QueryText.Enum<DeviceKind>(values, "kind"));
    }

    internal string ToQuery() => QueryText.Build(("q", Text), ("state", QueryText.Name(State)), ("kind", QueryText.Name(Kind)));

    internal bool Admits(DeviceView device) =>
        (State is null || device.State == State) && (Kind is null || device.Kind == Kind)
        && (Text is null || Contains(device.Name) || Contains(device.Address) || Contains(device.Facts?.CpuModel) || Contains(device.Facts?.Target));

    private bool Contains(string? value) => value?.Contains(Text!, StringComparison.OrdinalIgnoreCase) ?? false;
}

/// <summary>Filters of the list of matrices.</summary>
internal sealed record MatricesFilter(string? Text = null, MatrixState? State = null)
{
    internal static MatricesFilter Parse(string? query)
    {
        var values = QueryHelpers.ParseQuery(query);
        return new(QueryText.Text(values, "q"), QueryText.Enum<MatrixState>(values, "state"));
    }

    internal string ToQuery() => QueryText.Build(("q", Text), ("state", QueryText.Name(State)));

    internal bool Admits(MatrixSummaryView matrix) =>
        (State is null || matrix.State == State) && (Text is null || matrix.Name.Contains(Text, StringComparison.OrdinalIgnoreCase));
}

/// <summary>Reads and writes query strings; unknown names and values are ignored, never an error.</summary>
internal static class QueryText
{
    internal const int MaxText = 200;

    internal static string? Text(Dictionary<string, Microsoft.Extensions.Primitives.StringValues> values, string key) =>
        values.TryGetValue(key, out var found) && found.ToString().Trim() is { Length: > 0 and <= MaxText } text ? text : null;

    internal static T? Enum<T>(Dictionary<string, Microsoft.Extensions.Primitives.StringValues> values, string key) where T : struct, Enum =>
        Text(values, key) is { } text && !char.IsAsciiDigit(text[0]) && System.Enum.TryParse<T>(text.Replace("-", "", StringComparison.Ordinal), true, out var value)
            && System.Enum.IsDefined(value) ? value : null;

    /// <summary>An enum value as it stands in an address: <c>GenerationSpeedup</c> is <c>generation-speedup</c>.</summary>
    internal static string? Name<T>(T? value) where T : struct, Enum => value is null ? null
        : string.Concat(value.Value.ToString().Select((c, i) => char.IsUpper(c) && i > 0 ? "-" + char.ToLowerInvariant(c) : char.ToLowerInvariant(c).ToString()));

    /// <summary>Empty without values, else with its question mark.</summary>
    internal static string Build(params ReadOnlySpan<(string Key, string? Value)> values)
    {
        var text = "";
        foreach (var (key, value) in values)
        {
            text += string.IsNullOrEmpty(value) ? "" : $"{(text.Length == 0 ? '?' : '&')}{key}={Uri.EscapeDataString(value)}";
        }

        return text;
    }
}
