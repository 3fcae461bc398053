using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Tokenization;

namespace AgileQuant.Engine.Import;

/// <summary>A Hugging Face folder: config.json, weights as safetensors or PyTorch files, a tokenizer.</summary>
internal sealed class HuggingFaceSource : IModelSource
{
    private readonly string _folder;
    private readonly FolderFormat _format;
    private readonly WeightFolder _weights;
    private readonly Vocabulary? _vocabulary;

    public HuggingFaceSource(string folder)
    {
        _folder = folder;
        _format = FolderFormat.Read(folder);
        _weights = new WeightFolder(folder, _format.Plain);
        try
        {
            var hasHead = _weights.Tensors.ContainsKey("lm_head.weight");
            if (!hasHead && _format.Tied == false)
                throw new ModelFormatException($"{folder}: lm_head.weight is missing, and tie_word_embeddings is false");
            Shape = _format.Shape with { TiedOutput = _format.Tied ?? !hasHead };
            RefuseStrangers();
            _vocabulary = TokenizerFolder.Read(folder, Shape.VocabularySize);
        }
        catch
        {
            _weights.Dispose();
            throw;
        }
    }

    public ModelShape Shape { get; }

    public string FallbackName => Path.GetFileName(Path.GetFullPath(_folder).TrimEnd(Path.DirectorySeparatorChar));

    public long Bytes => _weights.Bytes;

    public bool HasVocabulary => _vocabulary is not null;

    public void WriteVocabulary(GgufMetadata keys) => _vocabulary?.WriteTo(keys);

    public SourceTensor Open(ModelTensor tensor)
    {
        if (tensor.Name == "rope_freqs.weight")
            return RopeFactors.From(_format.RopeFactors!);
        var theirs = _format.NameOf(tensor.Name);
        if (!_weights.Tensors.TryGetValue(theirs, out var found))
            throw new ModelFormatException($"{_folder}: tensor {theirs} is missing");
        var before = _format.RowsBefore(tensor.Name);
        var expected = tensor.Dimensions.Reverse().ToArray();
        expected[0] += before;
        if (!found.Shape.SequenceEqual(expected))
        {
            throw new ModelFormatException($"{found.File}: tensor {theirs} is [{string.Join(", ", found.Shape)}], "
                + $"[{string.Join(", ", expected)}] was expected");
        }

        var rowBytes = found.Type.RowBytes(tensor.Dimensions[0]);
        if (!_format.Permutes(tensor.Name))
            return new SourceTensor(found.Type, (row, destination) => found.Read((row + before) * rowBytes, destination));
        return tensor.Dimensions.Count == 1
            ? new SourceTensor(found.Type, (_, destination) => ReadPermutedElements(tensor.Name, found, destination))
            : new SourceTensor(found.Type, (row, destination) =>
            {
                for (var at = 0; at < destination.Length; at += (int)rowBytes, row++)
                    found.Read(_format.SourceRow(tensor.Name, row) * rowBytes, destination.Slice(at, (int)rowBytes));
            });
    }

    public void Dispose() => _weights.Dispose();

    /// <summary>A bias: its elements follow the rows of its weight.</summary>
    private void ReadPermutedElements(string name, FolderTensor tensor, Span<byte> destination)
    {
        var size = (int)tensor.Type.RowBytes(1);
        var all = new byte[destination.Length];
        tensor.Read(0, all);
        for (var i = 0; i < all.Length / size; i++)
            all.AsSpan((int)_format.SourceRow(name, i) * size, size).CopyTo(destination.Slice(i * size, size));
    }

    private void RefuseStrangers()
    {
        var known = (Shape with { TiedOutput = false, HasRopeFactors = false }).Tensors().Select(t => _format.NameOf(t.Name)).ToHashSet();
        var stranger = _weights.Tensors.Keys.FirstOrDefault(n => !known.Contains(n) && !_format.Ignores(n));
        if (stranger is not null)
        {
            throw new ModelFormatException($"{_folder}: tensor {stranger} is not part of a plain "
                + $"{Architectures.TitleOf(Shape.Architecture)} model; not supported");
        }
    }
}
