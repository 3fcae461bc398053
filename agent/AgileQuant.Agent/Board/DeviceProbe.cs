using System.Security.Cryptography;
using System.Text;

namespace AgileQuant.Agent;

/// <summary>Asks a board what it is: one POSIX sh script by standard input, one answer in marked sections.</summary>
public static class DeviceProbe
{
    private const string ScriptResource = "AgileQuant.Agent.Board.probe.sh";

    /// <summary>The script a board runs; public so that docs and tests can show exactly what is executed.</summary>
    public static string Script { get; } = ReadScript();

    /// <summary>Probes the board.</summary>
    /// <exception cref="RemoteCommandException">The board's sh did not run the script to its end.</exception>
    public static async Task<DeviceFacts> RunAsync(IRemoteShell shell, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(shell);
        var options = new RunOptions { Stdin = Encoding.UTF8.GetBytes(Script) };
        var result = await shell.RunAsync(["sh", "-s"], options, cancellationToken);
        var sections = ProbeAnswer.Split(result.Stdout);
        return sections.ContainsKey("end")
            ? ProbeAnswer.Interpret(sections)
            : throw new RemoteCommandException(shell.Address, "The device probe", result.ExitCode, result.Stderr);
    }

    private static string ReadScript()
    {
        using var stream = typeof(DeviceProbe).Assembly.GetManifestResourceStream(ScriptResource)
                           ?? throw new InvalidOperationException($"{ScriptResource} is not embedded.");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}

/// <summary>Reads the probe's answer. Pure.</summary>
public static class ProbeAnswer
{
    private const string Mark = "@@ ";

    /// <summary>Lines of each section, without empty ones.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<string>> Split(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var sections = new Dictionary<string, IReadOnlyList<string>>();
        List<string>? lines = null;
        foreach (var line in text.Split('\n').Select(l => l.TrimEnd('\r')))
        {
            if (line.StartsWith(Mark, StringComparison.Ordinal))
                sections[line[Mark.Length..].Trim()] = lines = [];
            else if (line.Length > 0)
                lines?.Add(line);
        }

        return sections;
    }

    public static DeviceFacts Interpret(IReadOnlyDictionary<string, IReadOnlyList<string>> sections)
    {
        ArgumentNullException.ThrowIfNull(sections);
        IReadOnlyList<string> Lines(string name) => sections.GetValueOrDefault(name) ?? [];
        string First(string name) => Lines(name) is [var line, ..] ? line.Trim() : "";

        var cpu = CpuDescription.Read(Lines("cpuinfo"));
        var hint = EmulationHint(Lines("emulation"), cpu.Model);
        var model = First("model");
        var android = Lines("android");
        return new DeviceFacts
        {
            Architecture = Architecture(First("system"), First("machine")),
            Machine = First("machine"),
            CpuModel = cpu.Model.Length > 0 ? cpu.Model : model.Length > 0 ? model : First("machine"),
            CpuFeatures = cpu.Features,
            Cores = Cores(Lines("cores"), First("processors")),
            MemoryBytes = Number(First("memory").Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1)) * 1024 ?? 0,
            OsName = OsName(Lines("os"), android),
            Kernel = First("kernel"),
            HostName = First("hostname"),
            Model = model.Length > 0 ? model : android.Count > 3 ? $"{android[2]} {android[3]}" : null,
            Governor = First("governor") is { Length: > 0 } governor ? governor : null,
            ThermalZones = [.. Lines("thermal").Select(Zone)],
            DiskFreeBytes = DiskFree(Lines("disk")),
            HomeFolder = First("home"),
            BootId = First("boot") is { Length: > 0 } boot ? boot : null,
            MachineFingerprint = Fingerprint(First("identity"), First("machine"), model),
            IsAndroid = android.Count > 0,
            IsEmulated = hint is not null,
            EmulationHint = hint,
        };
    }

    public static string Architecture(string system, string machine) => (system, machine) switch
    {
        ("Linux", "x86_64" or "amd64") => "linux-x64",
        ("Linux", "aarch64" or "arm64") => "linux-arm64",
        _ => "unsupported",
    };

    /// <summary>Free bytes from df's table: the column before the one with the percent sign, wherever lines were broken.</summary>
    public static long? DiskFree(IReadOnlyList<string> lines)
    {
        ArgumentNullException.ThrowIfNull(lines);
        var words = string.Join(' ', lines.Skip(1)).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var percent = Array.FindIndex(words, w => w.EndsWith('%'));
        return percent > 0 ? Number(words[percent - 1]) * 1024 : null;
    }

    private static List<CpuCore> Cores(IReadOnlyList<string> lines, string processors)
    {
        var cores = lines
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(w => w.Length > 0 && Number(w[0]) is not null)
            .Select(w => new CpuCore((int)Number(w[0])!.Value, Number(w.ElementAtOrDefault(1))))
            .OrderBy(c => c.Index).ToList();
        return cores.Count > 0
            ? cores
            : [.. Enumerable.Range(0, (int)Math.Clamp(Number(processors) ?? 0, 1, 4096)).Select(i => new CpuCore(i, null))];
    }

    private static ThermalZone Zone(string line)
    {
        var words = line.Split('\t');
        var name = words.ElementAtOrDefault(1) is { Length: > 0 } type ? type : words[0];
        return new ThermalZone(name, Number(words.ElementAtOrDefault(2)) / 1000.0);
    }

    private static string OsName(IReadOnlyList<string> lines, IReadOnlyList<string> android) =>
        android.Count > 1 ? $"Android {android[1]}"
        : android.Count > 0 ? "Android"
        : lines.FirstOrDefault(l => l.StartsWith("PRETTY_NAME=", StringComparison.Ordinal))?["PRETTY_NAME=".Length..].Trim('"', '\'')
          ?? "Linux";

    private static string? EmulationHint(IReadOnlyList<string> lines, string cpuModel) =>
        lines.Count > 0 ? lines[0]
        : cpuModel.Contains("QEMU", StringComparison.OrdinalIgnoreCase) ? $"the CPU calls itself {cpuModel}"
        : null;

    // Machine ids must not be shown as they are (machine-id(5)): only their hash leaves the board's record.
    private static string Fingerprint(string identity, string machine, string model) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"agilequant-device\n{identity}\n{machine}\n{model}")));

    private static long? Number(string? text) =>
        long.TryParse(text, System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out var value)
            ? value
            : null;
}
