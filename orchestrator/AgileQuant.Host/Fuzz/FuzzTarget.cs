using AgileQuant.Agent.Protocol;
using AgileQuant.Engine;
using AgileQuant.Host.Fuzz.Mutation;
using AgileQuant.Host.Matrix;
using AgileQuant.Orchestrator.Contracts;

namespace AgileQuant.Host.Fuzz;

/// <summary>A reader of files that others made. Whatever the bytes, it must read them or refuse them in its own words.</summary>
/// <param name="Name">As in <c>bench fuzz NAME</c>; its seeds lie in tests/fuzz/NAME.</param>
/// <param name="Description">For people.</param>
/// <param name="FileName">Name the damaged file gets in the folder that <paramref name="Run"/> is given.</param>
/// <param name="Companions">Files of tests/fuzz/model that lie beside it.</param>
/// <param name="Mutator">What knows the file's structure.</param>
/// <param name="Run">Reads the file, and works with what was read. Throws a refusal, or nothing.</param>
internal sealed record FuzzTarget(
    string Name, string Description, string FileName, IReadOnlyList<string> Companions, IMutator Mutator, Action<string> Run)
{
    private const string Text = "Größe und Länge: 12,345 words!\n\t<s> 日本 \U0001F600";

    /// <summary>All readers written in C#.</summary>
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new("gguf", "GGUF models: header, tensors, vocabulary", "model.gguf", [], new BinaryMutator(FieldFinder.Gguf),
            folder => Import(folder, Path.Combine(folder, "model.gguf"))),
        new("safetensors", "safetensors weights", "model.safetensors", ["config.json"], new SafeTensorsMutator(), folder => Import(folder, folder)),
        new("pickle", "PyTorch weights (pytorch_model.bin)", "pytorch_model.bin", ["config.json"], new ZippedPickleMutator(), folder => Import(folder, folder)),
        new("config", "config.json of a model folder", "config.json", ["model.safetensors"], new JsonMutator(), folder => Import(folder, folder)),
        new("tokenizer", "tokenizer.json", "tokenizer.json", [], new JsonMutator(), Tokenize),
        new("sentencepiece", "tokenizer.model (SentencePiece)", "tokenizer.model", [], new BinaryMutator(FieldFinder.ProtocolBuffer), Tokenize),
        new("merges", "merges.txt beside vocab.json", "merges.txt", ["vocab.json"], new TextMutator(), Tokenize),
        new("tokens", "token files", "text.aqtk", [], new BinaryMutator(FieldFinder.Tokens), folder => TokenFile.Read(Path.Combine(folder, "text.aqtk"))),
        new("matrix", "matrix files (YAML)", "matrix.yaml", [], new TextMutator(),
            folder => MatrixFile.Parse(File.ReadAllText(Path.Combine(folder, "matrix.yaml")), "matrix.yaml")),
        new("journal", "what an engine on a board answers: events and results", "events.jsonl", [], new TextMutator(), Journal),
    ];

    /// <summary>The product's own words; anything else that comes out of a reader is a defect.</summary>
    public static bool IsRefusal(Exception error) => error is ModelFormatException or UserErrorException or ProtocolException;

    private static void Import(string folder, string source)
    {
        var imported = Path.Combine(folder, "imported.gguf.out");
        if (ModelImporter.Import(source, imported).HasTokenizer)
            Tokenize(imported);
    }

    private static void Tokenize(string path)
    {
        var tokenizer = Tokenizer.Load(path);
        tokenizer.Decode(tokenizer.Encode(Text));
    }

    private static void Journal(string folder)
    {
        var bytes = File.ReadAllBytes(Path.Combine(folder, "events.jsonl"));
        new JournalReader().Append(bytes);
        ProtocolJson.ParseResult(bytes);
    }
}
