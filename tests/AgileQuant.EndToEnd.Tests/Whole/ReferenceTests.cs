using System.Security.Cryptography;
using System.Text.Json;
using AgileQuant.Engine;
using AgileQuant.Host.Api;
using AgileQuant.Host.Client;
using AgileQuant.Infra.Boards;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Whole;

/// <summary>What comes back from a board equals the C# reference forward pass over the very pack and token file that were pushed.</summary>
[Collection(BenchFixture.OneAtATime)]
public class ReferenceTests(BenchFixture bench)
{
    private const int Windows = 2;
    private const string Convention = "llama.cpp-512";
    private static readonly string[] Precisions = ["fp16", "w8a8", "w4a8", "w4a4"];
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_precision_has_the_references_perplexity_and_the_sample_models_token_ids()
    {
        await bench.NeedAsync(_ct);
        Assert.SkipWhen(!bench.HeldOutComplete, "this .NET SDK lacks sentences of the held-out text");

        var runs = await RunAsync("reference", BenchFixture.BoardName, BenchFixture.Model, BenchFixture.Dataset);

        foreach (var run in runs)
            CompareWithReference(run);
        TokenIdsSha256(runs[0]).ShouldBe(SampleIdsSha256());
    }

    [Fact]
    public async Task An_emulated_board_computes_the_same_and_never_shows_a_speed()
    {
        await bench.NeedAsync(_ct);
        Assert.SkipWhen(Repository.Data is null, "the shared test data is not on this machine (BENCH_SHARED)");
        Assert.SkipWhen(!EmulatedArmBoard.IsAvailable(out var reason), reason ?? "");
        Assert.SkipWhen(NativeEngine.FindBuilt("linux-arm64") is null, "the engine for linux-arm64 is not built: it needs the cross compiler (./bench setup)");
        var cache = Path.Combine(Path.GetTempPath(), $"aq-arm-cache-{Environment.UserName}");
        await using var board = await EmulatedArmBoard.StartAsync(
            new EmulatedArmBoardOptions { Folder = Path.Combine(bench.Home.Folder, "a72"), CacheFolder = cache }, _ct);
        await bench.Client.AddEngineAsync(NativeEngine.FindBuilt("linux-arm64")!, _ct);
        await bench.Client.AddDeviceAsync(
            new AddDeviceRequest("a72", board.Sshd.Address, board.Sshd.HostKeyFingerprint, board.Sshd.IdentityFile, DeviceKind.Emulated), _ct);
        var device = await bench.ReadyAsync("a72", _ct);
        device.Facts.ShouldNotBeNull().Target.ShouldBe("linux-arm64");
        await bench.Client.ImportModelAsync(
            new ImportModelRequest(Path.Combine(Repository.Data!, "stories260K", "stories260K-f32.gguf"), "stories260k"), null, _ct);
        await bench.Client.ImportDatasetAsync(new ImportDatasetRequest(Path.Combine(Repository.Data!, "text", "tinystories-sample.txt"), "stories"), _ct);

        var runs = await RunAsync("emulated", "a72", "stories260k", "stories");

        foreach (var run in runs)
        {
            CompareWithReference(run);
            run.Run.Speed.ShouldBeNull();
            run.Run.Perplexity!.NodeAgreement.ShouldNotBeNull().ShouldBeLessThan(0.02); // nat a token, against x64
            TestContext.Current.TestOutputHelper?.WriteLine($"{run.Run.Precision}: largest difference to x64 {run.Run.Perplexity.NodeAgreement:g3} nat");
        }

        TokenIds(runs[0]).ShouldBe(ExpectedStoryIds());
        var report = await bench.Client.GetReportAsync(runs[0].Run.MatrixId.ToString(), "md", _ct);
        System.Text.Encoding.UTF8.GetString(report.Content).ShouldContain("emulated");
        await bench.Client.RemoveDeviceAsync("a72", force: true, _ct);
    }

    private async Task<List<RunDetailView>> RunAsync(string name, string device, string model, string dataset)
    {
        var id = await bench.Client.StartMatrixAsync(
            new MatrixSpec(name, [device], [model], Precisions, [new WorkloadSpec("quality", [], null, null, 0, dataset, Convention, Windows)], new PolicySpec()), _ct);
        var view = await bench.WaitForEndAsync(id.ToString(), Limit, _ct);
        view.Summary.State.ShouldBe(MatrixState.Complete, BenchFixture.Describe(view));
        view.Runs.Count.ShouldBe(Precisions.Length);
        var runs = new List<RunDetailView>();
        foreach (var run in view.Runs)
            runs.Add(await bench.Client.GetRunAsync(run.Id, _ct));
        return runs;
    }

    /// <summary>Within 0.1%, 0.5% with 4-bit activations: what docs/packed-model.md promises of every kernel.</summary>
    private void CompareWithReference(RunDetailView run)
    {
        var nlls = ReferenceModel.Load(Artifact(run.Provenance.PackSha256))
            .Score(TokenFile.Read(Artifact(run.Provenance.TokenFileSha256)), PerplexityConvention.Parse(Convention), 0, Windows);
        var within = run.Run.Precision == "w4a4" ? 0.005 : 0.001;

        var expected = Math.Exp(nlls.SelectMany(w => w).Average(v => (double)v));
        run.Run.Perplexity.ShouldNotBeNull().Value.ShouldBe(expected, expected * within, run.Run.Precision);
        run.Windows.Count.ShouldBe(Windows);
        foreach (var window in run.Windows)
        {
            var mean = nlls[window.Window].Average(v => (double)v);
            window.MeanNll.ShouldBe(mean, mean * within, $"{run.Run.Precision}, window {window.Window}");
        }
    }

    private string Artifact(string? sha256) => Path.Combine(bench.Home.Folder, "store", sha256.ShouldNotBeNull());

    private IReadOnlyList<int> TokenIds(RunDetailView run) => TokenFile.Read(Artifact(run.Provenance.TokenFileSha256)).Ids;

    private static int[] ExpectedStoryIds()
    {
        var bytes = File.ReadAllBytes(Path.Combine(Repository.Data!, "stories260K", "tinystories-sample.ids.i32"));
        return [.. bytes.Chunk(4).Select(b => BitConverter.ToInt32(b))];
    }

    private string TokenIdsSha256(RunDetailView run) =>
        Convert.ToHexStringLower(SHA256.HashData([.. TokenIds(run).SelectMany(BitConverter.GetBytes)]));

    private static string? SampleIdsSha256()
    {
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(Repository.Root, "infra", "samples", BenchFixture.Model, "training.json")));
        return json.RootElement.GetProperty("ids_sha256").GetString();
    }
}
