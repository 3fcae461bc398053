using System.Security.Cryptography;
using System.Text;
using AgileQuant.Engine;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Perf;

/// <summary>
/// The model files of <c>bench perf engine</c>, made once and kept below one folder: the canonical model, our packs, and what
/// llama-quantize makes of the model for other engines. A name ends with what the file depends on.
/// </summary>
internal sealed class PerfFiles(string folder, Action<string> note)
{
    /// <summary>Packs by their SHA-256, as the engine wants them.</summary>
    public string Store { get; } = Path.Combine(folder, "store");

    /// <summary>Token file, job folders.</summary>
    public string Folder { get; } = folder;

    /// <summary>A random model of a preset shape.</summary>
    /// <exception cref="BenchException">There is no such shape, or no room for it.</exception>
    public string RandomModel(string preset, CancellationToken ct)
    {
        if (!RandomModelShape.Presets.TryGetValue(preset, out var shape))
            throw new BenchException($"there is no shape '{preset}': use one of {string.Join(", ", RandomModelShape.Presets.Keys)}");
        return Make($"{preset}-{CodeStamp}", ".gguf", $"generating {shape.Name}", path => Engine.RandomModel.Write(path, shape, 1, cancellation: ct));
    }

    /// <summary>A model of the user's, imported.</summary>
    /// <exception cref="BenchException">It is no model that we know.</exception>
    public string Imported(string path, CancellationToken ct)
    {
        var full = Path.GetFullPath(path);
        if (!Path.Exists(full))
            throw new BenchException($"there is no {full}; give a Hugging Face folder or a .gguf file");
        var facts = Directory.Exists(full)
            ? string.Join('|', new DirectoryInfo(full).GetFiles().OrderBy(f => f.Name, StringComparer.Ordinal).Select(f => $"{f.Name} {f.Length} {f.LastWriteTimeUtc.Ticks}"))
            : $"{new FileInfo(full).Length} {File.GetLastWriteTimeUtc(full).Ticks}";
        var name = Path.GetFileNameWithoutExtension(full.TrimEnd('/'));
        return Make($"{name}-{Hash(full + facts)}-{CodeStamp}", ".gguf", $"importing {full}", target => ModelImporter.Import(full, target, cancellation: ct));
    }

    /// <summary>Our pack of a canonical model; its path and SHA-256.</summary>
    /// <exception cref="BenchException">This version cannot pack it so.</exception>
    public (string Path, string Sha256) Pack(string canonical, Precision precision, CancellationToken ct)
    {
        var path = Make($"{Path.GetFileNameWithoutExtension(canonical)}-{precision}", ".pack", $"packing {precision}", target =>
            File.WriteAllText(target + ".sha256", Packer.Pack(canonical, PackRecipe.For(precision), target, cancellation: ct).Sha256));
        var sha256 = File.ReadAllText(path + ".sha256");
        Directory.CreateDirectory(Store);
        var link = Path.Combine(Store, sha256);
        if (!File.Exists(link))
        {
            File.Delete(link);
            File.CreateSymbolicLink(link, path);
        }

        return (path, sha256);
    }

    /// <summary>The model for another engine, by the llama-quantize that lies beside its llama-bench.</summary>
    /// <exception cref="BenchException">There is none, or it failed.</exception>
    public async Task<string> QuantizedAsync(string canonical, string type, IEnumerable<LlamaBench> engines, CancellationToken ct)
    {
        if (type == "F16")
            return canonical;
        var path = Path.Combine(Folder, "models", $"{Path.GetFileNameWithoutExtension(canonical)}-{type}.gguf");
        if (File.Exists(path))
            return path;
        var quantize = engines.Select(e => Path.Combine(Path.GetDirectoryName(e.Program)!, "llama-quantize")).FirstOrDefault(File.Exists)
            ?? throw new BenchException($"no llama-quantize lies beside the given llama-bench; give --gguf {type}=FILE");
        note($"{quantize} makes {type}");
        var temporary = path + ".tmp.gguf";
        try
        {
            await PerfProcess.RunAsync(quantize, [canonical, temporary, type], ct);
            File.Move(temporary, path);
        }
        finally
        {
            File.Delete(temporary);
        }

        return path;
    }

    /// <summary>Changes with the code that writes models and packs.</summary>
    private static string CodeStamp => typeof(Packer).Module.ModuleVersionId.ToString("N")[..8];

    private string Make(string name, string extension, string what, Action<string> make)
    {
        var path = Path.Combine(Folder, "models", name + extension);
        if (File.Exists(path))
            return path;
        note(what);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        try
        {
            make(path);
            return path;
        }
        catch (Exception e) when (e is ModelFormatException or ArgumentException)
        {
            throw new BenchException(e.Message, e);
        }
        catch (CalibrationException e)
        {
            throw new BenchException("this recipe is made from a calibration text, which speed is measured without: time it in a matrix with `calibration:`", e);
        }
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..8];
}
