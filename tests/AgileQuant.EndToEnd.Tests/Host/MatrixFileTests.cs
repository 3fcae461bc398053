using AgileQuant.Host.Matrix;
using AgileQuant.Orchestrator.Contracts;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

public class MatrixFileTests
{
    private const string Full = """
        name: shelf
        devices: [pi4, pi5]
        models: tinyllama
        precisions: [fp16, w4a8, w4a4+gptq+trip]
        calibration: train
        workloads:
          - name: chat
            models: [tinyllama]
            prompt: 512
            generate: 64
            threads: 4
          - dataset: wikitext2
            windows: all
          - dataset: wikitext2
            convention: gptq-2048
            windows: 8
        policy:
          rounds: 8
          target-spread: 0.01
        """;

    [Fact]
    public void A_full_file_becomes_the_spec_it_describes()
    {
        var spec = MatrixFile.Parse(Full, "shelf.yaml");

        spec.Name.ShouldBe("shelf");
        spec.Devices.ShouldBe(["pi4", "pi5"]);
        spec.Models.ShouldBe(["tinyllama"]);
        spec.Precisions.ShouldBe(["fp16", "w4a8", "w4a4+gptq+trip"]);
        spec.Calibration.ShouldBe("train");
        spec.Workloads[0].Models.ShouldBe(["tinyllama"]);
        (spec.Workloads[0] with { Models = [] }).ShouldBe(new WorkloadSpec("chat", [], 512, 64, 4, null, null, null));
        (spec.Workloads[1] with { Models = [] }).ShouldBe(new WorkloadSpec("workload-2", [], null, null, 0, "wikitext2", "llama.cpp-512", null));
        (spec.Workloads[2] with { Models = [] }).ShouldBe(new WorkloadSpec("workload-3", [], null, null, 0, "wikitext2", "gptq-2048", 8));
        spec.Policy.ShouldBe(new PolicySpec(Rounds: 8, TargetSpread: 0.01));
    }

    [Fact]
    public void The_example_in_the_documentation_is_valid()
    {
        var text = File.ReadAllText(Path.Combine(Repository.Root, "docs", "matrix-file.md"));
        var start = text.IndexOf("```yaml\n", StringComparison.Ordinal) + 8;

        var spec = MatrixFile.Parse(text[start..text.IndexOf("```", start, StringComparison.Ordinal)], "docs/matrix-file.md");

        spec.Workloads.Count.ShouldBeGreaterThan(1);
    }

    [Theory]
    [InlineData("devices: [a", "m.yaml:2: not valid YAML")]
    [InlineData("- a", "m.yaml:1: a matrix file has one document")]
    [InlineData("device: [a]\nmodels: [b]", "m.yaml:1: the matrix has no key 'device'; did you mean 'devices'?")]
    [InlineData("devices: [a]\nmodels: []\nprecisions: [fp16]", "m.yaml:2: the matrix needs at least one name under 'models'")]
    [InlineData("devices: [a]\nmodels: [b]\nprecisions: [fp16]\nworkloads:\n  - prompt: many", "m.yaml:5: 'prompt' must be a whole number of at least 1, not 'many'")]
    [InlineData("devices: [a]\nmodels: [b]\nprecisions: [fp16]\nworkloads:\n  - name: x", "m.yaml:5: workload 'x' asks for nothing")]
    [InlineData("devices: [a]\nmodels: [b]\nprecisions: [fp16]\nworkloads:\n  - prompt: 8\n    windows: 8", "m.yaml:5: workload 'workload-1' has a convention or windows but no dataset")]
    [InlineData("devices: [a]\nmodels: [b]\nprecisions: [fp16]\nworkloads:\n  - prompt: 8\npolicy:\n  min_repetitions: 2", "m.yaml:7: 'policy' has no key 'min_repetitions'; did you mean 'min-repetitions'?")]
    public void An_error_names_its_line_and_what_to_write(string yaml, string message)
    {
        Should.Throw<UserErrorException>(() => MatrixFile.Parse(yaml, "m.yaml")).Message.ShouldStartWith(message);
    }
}
