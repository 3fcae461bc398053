using System.Text.Json;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Pickle;
using AgileQuant.Engine.SafeTensors;

namespace AgileQuant.Engine.Import;

/// <summary>A tensor in one of the weight files of a folder, row-major.</summary>
/// <param name="File">The file it lies in.</param>
/// <param name="Type">Of the elements.</param>
/// <param name="Shape">In PyTorch's order, slowest first.</param>
/// <param name="Read">Fills a buffer with the tensor's bytes from an offset into it.</param>
internal sealed record FolderTensor(string File, TensorType Type, IReadOnlyList<long> Shape, ReadBytes Read);

internal delegate void ReadBytes(long offset, Span<byte> buffer);

/// <summary>All tensors of a folder: one or several safetensors files, else one or several PyTorch files.</summary>
internal sealed class WeightFolder : IDisposable
{
    private readonly List<IDisposable> _open = [];
    private readonly Dictionary<string, FolderTensor> _tensors = new(StringComparer.Ordinal);

    /// <param name="folder">Where the files lie.</param>
    /// <param name="plain">Makes a tensor's name independent of the base model's prefix.</param>
    /// <exception cref="ModelFormatException">There are no weights, or a file of them is missing or cannot be read.</exception>
    public WeightFolder(string folder, Func<string, string> plain)
    {
        try
        {
            foreach (var path in Files(folder))
            {
                Bytes += File.Exists(path) ? new FileInfo(path).Length : 0;
                if (path.EndsWith(".safetensors", StringComparison.Ordinal))
                    AddSafeTensors(path, plain);
                else
                    AddPyTorch(path, plain);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public long Bytes { get; }

    /// <summary>By plain name.</summary>
    public IReadOnlyDictionary<string, FolderTensor> Tensors => _tensors;

    public void Dispose() => _open.ForEach(f => f.Dispose());

    private void AddSafeTensors(string path, Func<string, string> plain)
    {
        var file = SafeTensorsFile.Open(path);
        _open.Add(file);
        foreach (var (name, tensor) in file.Tensors)
            Add(plain(name), new(path, tensor.Type, tensor.Shape, (offset, buffer) => file.Read(tensor, offset, buffer)));
        if (file.Unsupported.FirstOrDefault() is { Key: not null } bad)
            throw new ModelFormatException($"{path}: tensor {bad.Key} has type {bad.Value}; F32, F16 and BF16 are supported");
    }

    private void AddPyTorch(string path, Func<string, string> plain)
    {
        var file = PyTorchFile.Open(path);
        _open.Add(file);
        foreach (var (name, tensor) in file.Tensors)
            Add(plain(name), new(path, tensor.Storage.Type, tensor.Shape, (offset, buffer) => file.Read(tensor, offset, buffer)));
    }

    private void Add(string name, FolderTensor tensor)
    {
        if (!_tensors.TryAdd(name, tensor))
            throw new ModelFormatException($"{tensor.File}: tensor {name} stands in this folder twice");
    }

    /// <summary>The files an index names, else a single one, else all that lie there; safetensors first.</summary>
    private static List<string> Files(string folder)
    {
        foreach (var (name, pattern) in (ReadOnlySpan<(string, string)>)[("model.safetensors", "*.safetensors"), ("pytorch_model.bin", "pytorch_model*.bin")])
        {
            var index = Path.Combine(folder, name + ".index.json");
            if (File.Exists(index))
                return ShardsOf(index, folder, Path.GetExtension(name));
            var single = Path.Combine(folder, name);
            if (File.Exists(single))
                return [single];
            var all = Directory.GetFiles(folder, pattern).Order(StringComparer.Ordinal).ToList();
            if (all.Count > 0)
                return all;
        }

        throw new ModelFormatException($"{folder}: there are no *.safetensors files and no pytorch_model*.bin");
    }

    private static List<string> ShardsOf(string index, string folder, string extension)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(index));
            var names = json.RootElement.GetProperty("weight_map").EnumerateObject()
                .Select(e => e.Value.GetString() ?? "").Distinct().Order(StringComparer.Ordinal).ToList();
            if (names.FirstOrDefault(n => Path.GetFileName(n) != n || Path.GetExtension(n) != extension) is { } strange)
                throw new ModelFormatException($"{index}: '{strange}' is not the name of a {extension} file");
            return names.ConvertAll(n => Path.Combine(folder, n));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new ModelFormatException($"{index}: corrupt: {e.Message}", e);
        }
    }
}
