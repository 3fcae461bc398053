using System.Globalization;
using AgileQuant.Engine;
using AgileQuant.Engine.Gguf;
using AgileQuant.Host.Cli;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

/// <summary>The commands that pack and score on this machine, without a node.</summary>
public sealed class LocalQuantizationTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("aqb-quantize-").FullName;
    private readonly CancellationToken _ct = TestContext.Current.CancellationToken;

    public LocalQuantizationTests()
    {
        RandomModel.Write(At("tiny.gguf"), new RandomModelShape("tiny", 64, 2, 2, 1, 96, 260, 64), 3, cancellation: TestContext.Current.CancellationToken);
        File.WriteAllText(At("held.txt"), Words(1, 400));
        File.WriteAllText(At("train.txt"), Words(2, 2000));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Quantize_writes_the_pack_of_the_recipe_and_nothing_else()
    {
        (await RunAsync("quantize", At("tiny.gguf"), "--precision", "w4a4+gptq+trip", "--calibration", At("train.txt"), "--windows", "4",
            "--explain", "--json", "--out", At("packed.gguf"))).ShouldBe(0);

        using var pack = GgufFile.Open(At("packed.gguf"));
        pack.Tensors.Count.ShouldBeGreaterThan(10);
        Directory.GetFileSystemEntries(_folder).Select(Path.GetFileName).ShouldBe(
            ["held.txt", "packed.gguf", "tiny.gguf", "train.txt"], ignoreOrder: true);
    }

    [Fact]
    public async Task Explain_without_a_text_is_refused() =>
        (await RunAsync("quantize", At("tiny.gguf"), "--precision", "w4a8", "--explain", "--out", At("packed.gguf"))).ShouldNotBe(0);

    [Fact]
    public async Task Ablate_scores_every_recipe_at_every_length_with_the_engine()
    {
        (await RunAsync("ablate", At("tiny.gguf"), At("held.txt"), "--lengths", "32,64", "--windows", "4",
            "--precisions", "w8a8,w4a8+prune-paper0.5", "--out", At("out"))).ShouldBe(0);

        var rows = (await File.ReadAllLinesAsync(At("out/ablation.csv"), _ct)).Skip(1).Select(l => l.Split(',')).ToList();
        rows.Select(r => (r[1], r[2], r[3])).ShouldBe(
            from length in new[] { ("32", "8"), ("64", "4") }
            from precision in new[] { "fp16", "w8a8", "w4a8", "w4a8+prune-paper0.5" }
            select (precision, length.Item1, length.Item2));
        foreach (var row in rows)
        {
            Number(row[4]).ShouldBeInRange(100, 700); // random weights know nothing: near the vocabulary's 260
            Math.Log(Number(row[4]) / Number(row[5])).ShouldBe(Number(row[6]), 1e-4);
            (row[9].Length > 0).ShouldBe(row[1].Contains("prune", StringComparison.Ordinal));
        }

        foreach (var row in rows.Where(r => r[9].Length > 0))
            Number(row[9]).ShouldBeInRange(0.2, 0.9);
        Directory.GetFileSystemEntries(At("out")).Select(Path.GetFileName).ShouldBe(["ablation.csv", "ablation.svg"], ignoreOrder: true);
    }

    [Fact]
    public async Task Ablate_refuses_to_calibrate_on_the_scored_text() =>
        (await RunAsync("ablate", At("tiny.gguf"), At("train.txt"), "--calibration", At("train.txt"), "--lengths", "32", "--windows", "2"))
            .ShouldNotBe(0);

    [Fact]
    public async Task The_sample_texts_share_no_sentence()
    {
        (await RunAsync("dataset", "sample", At("a.txt"))).ShouldBe(0);
        (await RunAsync("dataset", "sample", At("b.txt"), "--training")).ShouldBe(0);

        var (held, training) = (await File.ReadAllLinesAsync(At("a.txt"), _ct), await File.ReadAllLinesAsync(At("b.txt"), _ct));
        held.Length.ShouldBeGreaterThan(1000);
        training.Length.ShouldBeGreaterThan(1000);
        held.Intersect(training).ShouldBeEmpty();
    }

    private string At(string name) => Path.Combine(_folder, name);

    private static Task<int> RunAsync(params string[] words) => BenchCommand.RunAsync(words);

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private static string Words(int seed, int count)
    {
        var random = new Random(seed);
        return string.Join(' ', Enumerable.Range(0, count).Select(_ => new string((char)('a' + random.Next(26)), random.Next(2, 7))));
    }
}
