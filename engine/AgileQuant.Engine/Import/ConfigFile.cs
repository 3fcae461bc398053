using System.Text.Json;

namespace AgileQuant.Engine.Import;

/// <summary>A Hugging Face <c>config.json</c>; members have aliases, a member that is null counts as absent.</summary>
internal sealed class ConfigFile
{
    private readonly JsonElement _root;

    private ConfigFile(string path, JsonElement root) => (Path, _root) = (path, root);

    public string Path { get; }

    /// <exception cref="ModelFormatException">There is no such file, or it is not a JSON object.</exception>
    public static ConfigFile Open(string folder)
    {
        var path = System.IO.Path.Combine(folder, "config.json");
        if (!File.Exists(path))
        {
            throw new ModelFormatException($"{path}: no such file; a Hugging Face model folder holds config.json and "
                + "*.safetensors or pytorch_model*.bin");
        }

        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return json.RootElement.ValueKind == JsonValueKind.Object
                ? new ConfigFile(path, json.RootElement.Clone())
                : throw new ModelFormatException($"{path}: corrupt: not a JSON object");
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"{path}: corrupt: {e.Message}", e);
        }
    }

    /// <summary>The first of the names that is there.</summary>
    /// <exception cref="ModelFormatException">None is, or it is no integer.</exception>
    public int Integer(params string[] names) => Optional(names) ?? throw Bad($"{names[0]} is missing");

    public int? Optional(params string[] names)
    {
        foreach (var name in names)
        {
            if (_root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number)
                return value.TryGetInt32(out var number) ? number : throw Bad($"{name} is {value}, not an integer in range");
        }

        return null;
    }

    public double? Real(string name) => Real(_root, name);

    public string? Text(string name) => Text(_root, name);

    public bool? Flag(string name) =>
        _root.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : null;

    public JsonElement? Object(string name) =>
        _root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Object ? value : null;

    /// <summary>First text of an array.</summary>
    public string? First(string name) =>
        _root.TryGetProperty(name, out var list) && list.ValueKind == JsonValueKind.Array && list.GetArrayLength() > 0
        && list[0].ValueKind == JsonValueKind.String ? list[0].GetString() : null;

    public static double? Real(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;

    public static string? Text(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    /// <summary>Last part of the repository name the configuration mentions, if it does.</summary>
    public string? OwnName()
    {
        var name = Text("_name_or_path")?.TrimEnd('/', '\\');
        return string.IsNullOrEmpty(name) ? null : name[(name.LastIndexOfAny(['/', '\\']) + 1)..];
    }

    public void Refuse(bool condition, string problem)
    {
        if (condition)
            throw Bad(problem);
    }

    public ModelFormatException Bad(string problem) => new($"{Path}: {problem}");
}
