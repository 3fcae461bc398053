using AgileQuant.Orchestrator.Contracts;
using static AgileQuant.Dashboard.Tests.Fakes.FakeDevices;

namespace AgileQuant.Dashboard.Tests.Fakes;

internal static class FakeAssets
{
    internal static List<ModelView> Models() =>
    [
        Model("sample-llama", 4_738_048, random: false), Model("random-150m", 151_026_176, random: true),
    ];

    internal static List<DatasetView> Datasets() =>
    [
        new(Id("heldout"), "sdk-heldout", 396_211, FakeRuns.Hex("heldout"), "text", Now.AddDays(-9)),
        new(Id("wiki"), "wikitext2-test", 1_290_590, FakeRuns.Hex("wiki"), "wikitext-gptq", Now.AddDays(-8)),
    ];

    internal static ModelView Model(string name, long parameters, bool random) =>
        new(Id("model/" + name), name, "llama", parameters, random ? 12 : 6, random ? 896 : 256, random ? 2048 : 512, random ? 32000 : 4096, random,
            !random, FakeRuns.Hex(name), parameters * 2, Now.AddDays(-9),
            [
                Pack("fp16", "ready", parameters * 2), Pack("w8a8", "ready", parameters * 11 / 10),
                Pack("w4a8", "ready", parameters * 7 / 10),
                random ? new("w4a4", "packing", null, null, null, "rtn, group 32") : Pack("w4a4", "ready", parameters * 7 / 10),
            ]);

    private static PackView Pack(string precision, string state, long bytes) =>
        new(precision, state, null, FakeRuns.Hex(precision + bytes), bytes, precision == "fp16" ? "fp16" : "rtn, group 32");
}
