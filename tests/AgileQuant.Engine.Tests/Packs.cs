using System.Collections.Concurrent;

namespace AgileQuant.Engine.Tests;

/// <summary>Imported and packed models, made once for all tests of a run and removed when the process ends.</summary>
internal static class Packs
{
    public static readonly string[] Precisions = ["fp16", "w8a8", "w4a8", "w4a4"];

    private static readonly TemporaryFolder Folder = new();
    private static readonly ConcurrentDictionary<string, Lazy<string>> Made = new();

    static Packs() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Folder.Dispose();

    /// <summary>Canonical GGUF of the LLaMA sample model.</summary>
    public static string DocsLlama() => Import("docs-llama", () => TestData.DocsLlama);

    /// <summary>Canonical GGUF of stories260K; skips the test when the data is not there.</summary>
    public static string Stories()
    {
        var source = TestData.Shared("stories260K", "stories260K-f32.gguf");
        return Import("stories260K", () => source);
    }

    /// <param name="model">docs-llama or stories260K.</param>
    public static string Pack(string model, string precision, int groupSize = 32)
    {
        var canonical = model == "docs-llama" ? DocsLlama() : Stories();
        return Once($"{model}-{precision}-{groupSize}.gguf", path =>
            Packer.Pack(canonical, PackRecipe.For(Precision.Parse(precision), groupSize), path, cancellation: CancellationToken.None));
    }

    /// <summary>The text a model is scored on, as ids.</summary>
    public static TokenData Tokens(string model)
    {
        var text = model == "docs-llama" ? SampleText.HeldOut() : File.ReadAllText(TestData.Shared("text", "tinystories-sample.txt"));
        var tokenizer = Tokenizer.Load(model == "docs-llama" ? DocsLlama() : Stories());
        return new TokenData(tokenizer.Encode(text), tokenizer.VocabularySize, tokenizer.BosId, tokenizer.AddsBos);
    }

    /// <summary>The same as a token file.</summary>
    public static string TokenFilePath(string model)
    {
        var tokens = Tokens(model);
        return Once($"{model}.aqtk", path => TokenFile.Write(path, tokens.Ids, tokens.VocabularySize, tokens.BosId, tokens.AddsBos));
    }

    private static string Import(string name, Func<string> source) =>
        Once($"{name}.gguf", path => ModelImporter.Import(source(), path, cancellation: CancellationToken.None));

    private static string Once(string name, Action<string> make) => Made.GetOrAdd(name, _ => new Lazy<string>(() =>
    {
        var path = Folder.File(name);
        make(path);
        return path;
    })).Value;
}
