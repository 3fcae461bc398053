using AgileQuant.Engine;
using AgileQuant.Host.Client;

namespace AgileQuant.Host.Quantization;

/// <summary>A model on this machine as the commands that need no node use it: imported into a folder that goes away with it.</summary>
internal sealed class LocalModel : IDisposable
{
    private readonly string _folder;
    private readonly Tokenizer _tokenizer;

    private LocalModel(string folder, string path)
    {
        (_folder, Path) = (folder, path);
        _tokenizer = Tokenizer.Load(path);
    }

    /// <summary>The canonical GGUF.</summary>
    public string Path { get; }

    /// <summary>Imports a Hugging Face folder or a .gguf file.</summary>
    /// <param name="source">The folder or file.</param>
    /// <param name="work">Folder for the copy and what is made of it; made when missing.</param>
    /// <param name="progress">Told tensor by tensor.</param>
    /// <param name="ct">Stops between chunks.</param>
    /// <exception cref="BenchException">There is no such model, or it is of no supported kind.</exception>
    public static LocalModel Open(string source, string work, IProgress<ModelProgress>? progress, CancellationToken ct)
    {
        if (!File.Exists(source) && !Directory.Exists(source))
            throw new BenchException($"there is no model at {source}; give a Hugging Face folder or a .gguf file");
        var folder = System.IO.Path.Combine(work, $"quantize-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
        try
        {
            var path = System.IO.Path.Combine(folder, "model.gguf");
            ModelImporter.Import(source, path, progress, ct);
            return new LocalModel(folder, path);
        }
        catch (Exception e)
        {
            Directory.Delete(folder, recursive: true);
            if (e is ModelFormatException)
                throw new BenchException(e.Message, e);
            throw;
        }
    }

    /// <summary>A file in the model's own folder.</summary>
    public string Beside(string name) => System.IO.Path.Combine(_folder, name);

    /// <summary>Tokens of a UTF-8 text, or of a token file (.aqtk) made for this model.</summary>
    /// <exception cref="BenchException">There is no such file, or it is for another vocabulary.</exception>
    public TokenData Tokens(string path)
    {
        if (!File.Exists(path))
            throw new BenchException($"there is no file {path}");
        if (!path.EndsWith(".aqtk", StringComparison.Ordinal))
            return new TokenData(_tokenizer.Encode(File.ReadAllText(path)), _tokenizer.VocabularySize, _tokenizer.BosId, _tokenizer.AddsBos);
        var tokens = TokenFile.Read(path);
        return tokens.VocabularySize == _tokenizer.VocabularySize
            ? tokens
            : throw new BenchException($"{path} is for a vocabulary of {tokens.VocabularySize}; the model has {_tokenizer.VocabularySize}");
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
