using System.Collections.Concurrent;

namespace AgileQuant.Engine.Tests;

/// <summary>Imported and packed models, made once for all tests of a run and removed when the process ends.</summary>
internal static class Packs
{
    public static readonly string[] Precisions = ["fp16", "w8a8", "w4a8", "w4a4"];

    private static readonly TemporaryFolder Folder = new();
    private static readonly ConcurrentDictionary<string, Lazy<string>> Made = new();

    static Packs() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Folder.Dispose();

    /// <summary>The sample models that come with the product.</summary>
    public static readonly string[] Samples = ["docs-llama", "docs-opt", "docs-bloom"];

    /// <summary>Canonical GGUF of the LLaMA sample model.</summary>
    public static string DocsLlama() => Canonical("docs-llama");

    /// <summary>Canonical GGUF; skips the test when the model is one of those that only developers' machines have.</summary>
    /// <param name="model">One of <see cref="Samples"/>, or stories260K.</param>
    public static string Canonical(string model)
    {
        var source = Samples.Contains(model) ? Path.Combine(TestData.Samples, model) : TestData.Shared(model, $"{model}-f32.gguf");
        return Once($"{model}.gguf", path => ModelImporter.Import(source, path, cancellation: CancellationToken.None));
    }

    /// <param name="model">As for <see cref="Canonical"/>.</param>
    /// <param name="precision">One that needs no calibration.</param>
    /// <param name="groupSize">Of int4 weights.</param>
    public static string Pack(string model, string precision, int groupSize = 32)
    {
        var canonical = Canonical(model);
        return Once($"{model}-{precision}-{groupSize}.gguf", path =>
            Packer.Pack(canonical, PackRecipe.For(Precision.Parse(precision), groupSize), path, cancellation: CancellationToken.None));
    }

    /// <summary>A plain pack with options put in by hand (<see cref="OptionPack"/>).</summary>
    public static string PackWith(string model, string precision, string options)
    {
        var plain = Pack(model, precision);
        return Once($"{model}-{precision}+{options}.gguf", path => OptionPack.Write(plain, path, options));
    }

    /// <summary>The text a model is scored on, as ids.</summary>
    public static TokenData Tokens(string model)
    {
        var canonical = Canonical(model);
        var text = Samples.Contains(model) ? SampleText.HeldOut() : File.ReadAllText(TestData.Shared("text", "tinystories-sample.txt"));
        var tokenizer = Tokenizer.Load(canonical);
        return new TokenData(tokenizer.Encode(text), tokenizer.VocabularySize, tokenizer.BosId, tokenizer.AddsBos);
    }

    /// <summary>The same as a token file.</summary>
    public static string TokenFilePath(string model)
    {
        var tokens = Tokens(model);
        return Once($"{model}.aqtk", path => TokenFile.Write(path, tokens.Ids, tokens.VocabularySize, tokens.BosId, tokens.AddsBos));
    }

    private static string Once(string name, Action<string> make) => Made.GetOrAdd(name, _ => new Lazy<string>(() =>
    {
        var path = Folder.File(name);
        make(path);
        return path;
    })).Value;
}
