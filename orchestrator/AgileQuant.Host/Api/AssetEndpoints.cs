using System.Text.Json;
using System.Threading.Channels;
using AgileQuant.Engine;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Api;

/// <summary>Models, datasets and engines.</summary>
internal static class AssetEndpoints
{
    private const string NdJson = "application/x-ndjson";
    private static readonly byte[] NewLine = "\n"u8.ToArray();

    public static void Map(RouteGroupBuilder api)
    {
        var models = api.MapGroup("/models").WithTags("Models");
        models.MapGet("", (IAssetService assets, CancellationToken ct) => assets.ListModelsAsync(ct))
            .WithName("listModels").WithSummary("Imported models with their packs.").Produces<IReadOnlyList<ModelView>>();
        models.MapPost("", (ImportModelRequest request, IAssetService assets, HttpContext context) =>
                StreamAsync(context, (progress, ct) => assets.ImportModelAsync(request.Path, request.Name, progress, ct)))
            .WithName("importModel").WithSummary("Imports a Hugging Face folder or a .gguf; answers with lines of progress, then the model.")
            .Produces<ModelImportEvent>(200, NdJson);
        models.MapPost("/random", (RandomModelRequest request, IAssetService assets, HttpContext context) =>
                StreamAsync(context, (progress, ct) => assets.CreateRandomModelAsync(request.Shape, request.Name, request.Seed, progress, ct)))
            .WithName("createRandomModel").WithSummary("Generates a random-weight model, for speed only.")
            .Produces<ModelImportEvent>(200, NdJson);

        var datasets = api.MapGroup("/datasets").WithTags("Datasets");
        datasets.MapGet("", (IAssetService assets, CancellationToken ct) => assets.ListDatasetsAsync(ct))
            .WithName("listDatasets").WithSummary("Evaluation texts.").Produces<IReadOnlyList<DatasetView>>();
        datasets.MapPost("", (ImportDatasetRequest request, IAssetService assets, CancellationToken ct) =>
                assets.ImportDatasetAsync(request.Path, request.Name, request.Format, ct))
            .WithName("importDataset").WithSummary("Imports a text.").Produces<DatasetView>().ProducesProblem(400);

        var engines = api.MapGroup("/engines").WithTags("Engines");
        engines.MapGet("", (IAssetService assets, CancellationToken ct) => assets.ListEnginesAsync(ct))
            .WithName("listEngines").WithSummary("Engine binaries by target.").Produces<IReadOnlyList<EngineView>>();
        engines.MapPost("", (AddEngineRequest request, IAssetService assets, CancellationToken ct) => assets.AddEngineAsync(request.Path, ct))
            .WithName("addEngine").WithSummary("Adds an engine binary and makes it the current one of its target.")
            .Produces<EngineView>().ProducesProblem(400);
    }

    /// <summary>Runs the work and writes its progress (the newest value, never a backlog), then its result or its error.</summary>
    private static async Task StreamAsync(HttpContext context, Func<IProgress<ModelProgress>, CancellationToken, Task<ModelView>> work)
    {
        var ct = context.RequestAborted;
        var values = Channel.CreateBounded<ModelProgress>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
        context.Response.ContentType = NdJson;
        var task = Task.Run(() => work(new Latest(values.Writer), ct), ct);
        _ = task.ContinueWith(_ => values.Writer.TryComplete(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        await foreach (var value in values.Reader.ReadAllAsync(ct))
            await WriteLineAsync(context, new ModelImportEvent(Progress: value.Share, Tensor: value.Tensor, Number: value.Number, Count: value.Count), ct);
        ModelImportEvent last;
        try
        {
            last = new ModelImportEvent(Model: await task);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            last = new ModelImportEvent(Error: UserErrorHandler.Explain(e).Detail);
        }

        await WriteLineAsync(context, last, ct);
    }

    internal static async Task WriteLineAsync<T>(HttpContext context, T line, CancellationToken ct)
    {
        await JsonSerializer.SerializeAsync(context.Response.Body, line, ApiJson.Options, ct);
        await context.Response.Body.WriteAsync(NewLine, ct);
        await context.Response.Body.FlushAsync(ct);
    }

    private sealed class Latest(ChannelWriter<ModelProgress> writer) : IProgress<ModelProgress>
    {
        public void Report(ModelProgress value) => writer.TryWrite(value);
    }
}
