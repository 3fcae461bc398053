using System.Globalization;
using AgileQuant.Orchestrator.Contracts;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace AgileQuant.Host.Matrix;

/// <summary>Reads a matrix from YAML (docs/matrix-file.md). Every error names its line and what to write instead.</summary>
public static class MatrixFile
{
    private const int LargestText = 1 << 18;
    private const int DeepestNesting = 32;

    private static readonly string[] TopKeys = ["name", "devices", "models", "precisions", "calibration", "workloads", "policy"];

    private static readonly string[] WorkloadKeys =
        ["name", "models", "precisions", "devices", "prompt", "generate", "threads", "dataset", "convention", "windows"];

    private static readonly string[] PolicyKeys =
    [
        "rounds", "min-repetitions", "max-repetitions", "warmup-max", "target-spread", "group-size", "max-attempts",
        "cool-down-margin", "cool-down-timeout",
    ];

    /// <exception cref="UserErrorException">The file is no matrix; the message has file, line and what to do.</exception>
    public static MatrixSpec Parse(string text, string fileName)
    {
        if (text.Length > LargestText)
            throw new UserErrorException($"{fileName}: larger than {LargestText >> 10} KiB: that is no matrix");
        YamlStream stream = [];
        try
        {
            RefuseDepth(text, fileName);
            stream.Load(new StringReader(text));
        }
        catch (YamlException e)
        {
            throw new UserErrorException($"{fileName}:{e.Start.Line}: not valid YAML: {e.Message}", e);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw new UserErrorException($"{fileName}: not valid YAML: {e.Message}", e); // the scanner's own way to give up
        }

        if (stream.Documents.Count != 1 || stream.Documents[0].RootNode is not YamlMappingNode root)
            throw new UserErrorException($"{fileName}:1: a matrix file has one document with the keys {string.Join(", ", TopKeys)}");
        var map = new YamlMap(root, fileName, TopKeys, "the matrix");
        return new MatrixSpec(
            map.Text("name") ?? Path.GetFileNameWithoutExtension(fileName),
            map.RequiredList("devices"),
            map.RequiredList("models"),
            map.RequiredList("precisions"),
            Workloads(map, fileName),
            map.Map("policy", PolicyKeys) is { } policy ? Policy(policy) : new PolicySpec(),
            map.Text("calibration"));
    }

    /// <summary>Nodes are made by recursion, events are not: what is nested too deeply is refused before.</summary>
    private static void RefuseDepth(string text, string fileName)
    {
        var parser = new Parser(new StringReader(text));
        for (var depth = 0; parser.MoveNext();)
        {
            depth += parser.Current!.NestingIncrease;
            if (depth > DeepestNesting)
                throw new UserErrorException($"{fileName}:{parser.Current.Start.Line}: nested too deeply: a matrix has lists and keys, three deep");
        }
    }

    private static List<WorkloadSpec> Workloads(YamlMap map, string fileName)
    {
        var items = map.Sequence("workloads");
        if (items.Count == 0)
            throw map.Error("workloads", "the matrix needs at least one workload under 'workloads'");
        return [.. items.Select((item, i) => item is YamlMappingNode node
            ? Workload(new YamlMap(node, fileName, WorkloadKeys, "a workload"), i)
            : throw new UserErrorException($"{fileName}:{item.Start.Line}: a workload is a list of keys: {string.Join(", ", WorkloadKeys)}"))];
    }

    private static WorkloadSpec Workload(YamlMap map, int index)
    {
        var workload = new WorkloadSpec(
            map.Text("name") ?? $"workload-{index + 1}", map.List("models"), map.Integer("prompt", 1), map.Integer("generate", 1),
            map.Integer("threads", 0) ?? 0, map.Text("dataset"), map.Text("convention"), Windows(map),
            map.List("precisions") is { Count: > 0 } precisions ? precisions : null, map.List("devices") is { Count: > 0 } devices ? devices : null);
        if (workload.Prompt is null && workload.Generate is null && workload.Dataset is null)
            throw map.Error(null, $"workload '{workload.Name}' asks for nothing: give prompt or generate for speed, dataset for perplexity");
        if (workload.Dataset is null && (workload.Convention is not null || workload.Windows is not null))
            throw map.Error(null, $"workload '{workload.Name}' has a convention or windows but no dataset");
        return workload.Dataset is not null && workload.Convention is null ? workload with { Convention = "llama.cpp-512" } : workload;
    }

    private static int? Windows(YamlMap map) => map.Text("windows") is null or "all" ? null : map.Integer("windows", 1);

    private static PolicySpec Policy(YamlMap map)
    {
        var d = new PolicySpec();
        return new PolicySpec(
            map.Integer("rounds", 1) ?? d.Rounds, map.Integer("min-repetitions", 1) ?? d.MinRepetitions,
            map.Integer("max-repetitions", 1) ?? d.MaxRepetitions, map.Integer("warmup-max", 0) ?? d.WarmupMax,
            map.Number("target-spread") ?? d.TargetSpread, map.Integer("group-size", 0) ?? d.GroupSize,
            map.Integer("max-attempts", 1) ?? d.MaxAttempts, map.Number("cool-down-margin") ?? d.CoolDownMarginCelsius,
            map.Integer("cool-down-timeout", 0) ?? d.CoolDownTimeoutSeconds);
    }
}

/// <summary>One YAML mapping with known keys.</summary>
internal sealed class YamlMap
{
    private readonly YamlMappingNode _node;
    private readonly string _file;
    private readonly Dictionary<string, YamlNode> _values = new(StringComparer.Ordinal);

    public YamlMap(YamlMappingNode node, string file, IReadOnlyList<string> keys, string what)
    {
        (_node, _file) = (node, file);
        foreach (var (key, value) in node.Children)
        {
            var name = (key as YamlScalarNode)?.Value ?? "";
            if (!keys.Contains(name))
                throw new UserErrorException($"{file}:{key.Start.Line}: {what} has no key '{name}'; {Suggest(name, keys)}");
            _values[name] = value;
        }
    }

    public UserErrorException Error(string? key, string message) =>
        new($"{_file}:{(key is not null && _values.TryGetValue(key, out var node) ? node : _node).Start.Line}: {message}");

    public string? Text(string key) => !_values.TryGetValue(key, out var node) ? null
        : node is YamlScalarNode { Value: { Length: > 0 } value } ? value : throw Error(key, $"'{key}' must be a word");

    public int? Integer(string key, int least) => Text(key) is not { } text ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= least
            ? value : throw Error(key, $"'{key}' must be a whole number of at least {least}, not '{text}'");

    public double? Number(string key) => Text(key) is not { } text ? null
        : double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value) && value >= 0
            ? value : throw Error(key, $"'{key}' must be a number, not '{text}'");

    /// <summary>A list of words; one word alone is a list of one.</summary>
    public IReadOnlyList<string> List(string key) => !_values.TryGetValue(key, out var node) ? []
        : node is YamlScalarNode ? [Text(key)!]
        : node is YamlSequenceNode items && items.All(i => i is YamlScalarNode { Value.Length: > 0 })
            ? [.. items.Select(i => ((YamlScalarNode)i).Value!)]
            : throw Error(key, $"'{key}' must be a list of names, for instance [a, b]");

    public IReadOnlyList<string> RequiredList(string key) => List(key) is { Count: > 0 } list
        ? list : throw Error(key, $"the matrix needs at least one name under '{key}'");

    public IReadOnlyList<YamlNode> Sequence(string key) => !_values.TryGetValue(key, out var node) ? []
        : node is YamlSequenceNode items ? [.. items] : throw Error(key, $"'{key}' must be a list");

    public YamlMap? Map(string key, IReadOnlyList<string> keys) => !_values.TryGetValue(key, out var node) ? null
        : node is YamlMappingNode map ? new YamlMap(map, _file, keys, $"'{key}'") : throw Error(key, $"'{key}' must hold keys: {string.Join(", ", keys)}");

    private static string Suggest(string name, IReadOnlyList<string> keys)
    {
        var near = keys.FirstOrDefault(k => k.Replace("-", "", StringComparison.Ordinal)
            .Equals(name.Replace("_", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase)
            || k.StartsWith(name, StringComparison.OrdinalIgnoreCase) || name.StartsWith(k, StringComparison.OrdinalIgnoreCase));
        return near is null ? $"it knows {string.Join(", ", keys)}" : $"did you mean '{near}'?";
    }
}
