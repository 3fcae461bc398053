using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Orchestrator.Reports;

/// <summary>The report as JSON: everything, including every sample and telemetry point.</summary>
public static class JsonReport
{
    /// <summary>Raised when a field changes its meaning or goes; new fields do not raise it.</summary>
    public const string Schema = "agilequant.report/1";

    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    public static byte[] Render(ReportModel model) => JsonSerializer.SerializeToUtf8Bytes(ToDocument(model), Options);

    internal static JsonReportDocument ToDocument(ReportModel model) => new(
        Schema, model.GeneratedAt, model.Status.Version, model.Status.ClusterId, model.Status.Ownership, model.Status.Transport,
        model.Matrix.Summary, model.Matrix.Spec, model.Runs,
        [.. ReportNotes.All.Select(n => new JsonNote(n.Key, n.Text))], model.Matrix.Baselines ?? []);
}

/// <summary>How a figure was made.</summary>
public sealed record JsonNote(string Key, string Text);

/// <summary>The JSON report.</summary>
public sealed record JsonReportDocument(
    string Schema, DateTimeOffset GeneratedAt, string OrchestratorVersion, Guid ClusterId, string Ownership, string Transport,
    MatrixSummaryView Matrix, MatrixSpec Spec, IReadOnlyList<RunDetailView> Runs, IReadOnlyList<JsonNote> Notes,
    IReadOnlyList<BaselineNote> Baselines);
