namespace AgileQuant.Agent;

/// <summary>CPU model and features out of the lines of /proc/cpuinfo.</summary>
internal sealed record CpuDescription(string Model, IReadOnlyList<string> Features)
{
    // MIDR part numbers of implementer 0x41 (Arm Ltd.), as Linux' arch/arm64/include/asm/cputype.h lists them.
    private static readonly Dictionary<string, string> ArmParts = new(StringComparer.OrdinalIgnoreCase)
    {
        ["0xd03"] = "Cortex-A53",
        ["0xd04"] = "Cortex-A35",
        ["0xd05"] = "Cortex-A55",
        ["0xd07"] = "Cortex-A57",
        ["0xd08"] = "Cortex-A72",
        ["0xd09"] = "Cortex-A73",
        ["0xd0a"] = "Cortex-A75",
        ["0xd0b"] = "Cortex-A76",
        ["0xd0c"] = "Neoverse-N1",
        ["0xd0d"] = "Cortex-A77",
        ["0xd40"] = "Neoverse-V1",
        ["0xd41"] = "Cortex-A78",
        ["0xd42"] = "Cortex-A78AE",
        ["0xd44"] = "Cortex-X1",
        ["0xd46"] = "Cortex-A510",
        ["0xd47"] = "Cortex-A710",
        ["0xd48"] = "Cortex-X2",
        ["0xd49"] = "Neoverse-N2",
        ["0xd4d"] = "Cortex-A715",
        ["0xd4e"] = "Cortex-X3",
        ["0xd4f"] = "Neoverse-V2",
        ["0xd80"] = "Cortex-A520",
        ["0xd81"] = "Cortex-A720",
        ["0xd82"] = "Cortex-X4",
    };

    public static CpuDescription Read(IReadOnlyList<string> lines)
    {
        var pairs = lines.Select(l => l.Split(':', 2)).Where(p => p.Length == 2).Select(p => (Key: p[0].Trim(), Value: p[1].Trim())).ToList();
        string? One(string key) =>
            pairs.FirstOrDefault(p => p.Key.Equals(key, StringComparison.OrdinalIgnoreCase) && p.Value.Length > 0).Value;
        var parts = pairs.Where(p => p.Key == "CPU part").Select(p => ArmParts.GetValueOrDefault(p.Value, p.Value)).Distinct().ToList();
        var arm = One("CPU implementer") == "0x41" ? string.Join(" + ", parts) : null;
        var model = One("model name") ?? arm ?? One("Hardware") ?? "";
        var features = (One("flags") ?? One("Features") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return new CpuDescription(model, [.. features.Distinct().Order(StringComparer.Ordinal)]);
    }
}
