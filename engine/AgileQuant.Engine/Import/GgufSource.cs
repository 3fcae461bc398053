using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Tokenization;

namespace AgileQuant.Engine.Import;

/// <summary>A GGUF file in llama.cpp's conventions, as converters write it.</summary>
internal sealed class GgufSource : IModelSource
{
    private readonly GgufFile _file;
    private readonly float? _linearFactor;

    public GgufSource(string path)
    {
        _file = GgufFile.Open(path);
        try
        {
            if (_file.Metadata.Contains("agilequant.format"))
                throw new ModelFormatException($"{path}: this is a packed model; import the model that it was packed from");
            Shape = ModelShape.FromGguf(_file);
            _linearFactor = LinearFactor();
            if (_linearFactor is not null)
                Shape = Shape with { HasRopeFactors = true };
            RefuseStrangers();
            if (HasVocabulary)
                Vocabulary.FromGguf(_file.Metadata, path).CheckSize(Shape.VocabularySize, path);
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    public ModelShape Shape { get; }

    public string FallbackName => Path.GetFileNameWithoutExtension(_file.Path);

    public long Bytes => new FileInfo(_file.Path).Length;

    public bool HasVocabulary => _file.Metadata.Contains("tokenizer.ggml.tokens");

    public void WriteVocabulary(GgufMetadata keys)
    {
        foreach (var (key, value) in _file.Metadata)
        {
            if (key.StartsWith("tokenizer.", StringComparison.Ordinal))
                keys.Add(key, value);
        }
    }

    public SourceTensor Open(ModelTensor tensor)
    {
        if (tensor.Name == "rope_freqs.weight" && _linearFactor is { } factor)
            return RopeFactors.Constant(factor);
        var found = _file.Tensor(tensor.Name);
        if (!found.Dimensions.SequenceEqual(tensor.Dimensions))
        {
            throw new ModelFormatException($"{_file.Path}: tensor {tensor.Name} is [{string.Join(", ", found.Dimensions)}], "
                + $"[{string.Join(", ", tensor.Dimensions)}] was expected");
        }

        if (found.Type == TensorType.I8)
            throw new ModelFormatException($"{_file.Path}: tensor {tensor.Name} has type I8, which only packed models have");
        var rowBytes = found.Type.RowBytes(found.RowLength);
        return new SourceTensor(found.Type, (row, destination) => _file.Read(found, row * rowBytes, destination));
    }

    public void Dispose() => _file.Dispose();

    /// <summary>Linear rotary scaling, which we store as frequency factors; other kinds are refused.</summary>
    private float? LinearFactor()
    {
        var keys = _file.Metadata;
        var kind = keys.Text("llama.rope.scaling.type") ?? "none";
        if (kind is not ("none" or "linear"))
            throw new ModelFormatException($"{_file.Path}: rotary scaling '{kind}' is not supported; none, linear and Llama 3's are");
        var factor = keys.Real("llama.rope.scaling.factor") ?? keys.Real("llama.rope.scale_linear") ?? 1;
        if (kind == "none" && !keys.Contains("llama.rope.scale_linear"))
            return null;
        return factor is 1 or 0 ? null : (float)factor;
    }

    /// <summary>A tensor that the architecture as we know it does not use means a different model.</summary>
    private void RefuseStrangers()
    {
        var known = Shape.Tensors().Select(t => t.Name).ToHashSet();
        var stranger = _file.Tensors.FirstOrDefault(t => !known.Contains(t.Name) && !t.Name.EndsWith(".attn_rot_embd", StringComparison.Ordinal));
        if (stranger is not null)
            throw new ModelFormatException($"{_file.Path}: tensor {stranger.Name} is not part of a plain "
                + $"{Architectures.TitleOf(Shape.Architecture)} model; not supported");
    }
}
