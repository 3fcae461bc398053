using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgileQuant.Orchestrator.Contracts;
using AgileQuant.Orchestrator.Services;

namespace AgileQuant.Orchestrator.Orleans.Matrices;

/// <summary>One matrix. All who follow it, on whatever node, share one computation a change.</summary>
public interface IMatrixGrain : IGrainWithGuidKey
{
    /// <summary>The matrix as JSON, as <see cref="IMatrixProgress.WatchAsync"/> has it.</summary>
    IAsyncEnumerable<string> WatchAsync(CancellationToken ct = default);
}

/// <inheritdoc cref="IMatrixGrain"/>
internal sealed class MatrixGrain(FeedMatrixProgress progress) : Grain, IMatrixGrain
{
    private MatrixView? _last;
    private string _lastJson = "";

    public async IAsyncEnumerable<string> WatchAsync([EnumeratorCancellation] CancellationToken ct = default)
    {
        await foreach (var view in progress.WatchAsync(this.GetPrimaryKey(), ct))
            yield return Write(view);
    }

    /// <summary>Written once however many read it.</summary>
    private string Write(MatrixView view)
    {
        if (!ReferenceEquals(view, _last))
            (_last, _lastJson) = (view, MatrixJson.Write(view));
        return _lastJson;
    }
}

/// <summary>How a matrix travels between silos.</summary>
internal static class MatrixJson
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { Converters = { new JsonStringEnumConverter() } };

    public static string Write(MatrixView view) => JsonSerializer.Serialize(view, Options);

    public static MatrixView Read(string json) => JsonSerializer.Deserialize<MatrixView>(json, Options)!;
}
