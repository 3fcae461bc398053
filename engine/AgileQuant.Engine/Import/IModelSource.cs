using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Import;

/// <summary>A model as somebody else stored it.</summary>
internal interface IModelSource : IDisposable
{
    ModelShape Shape { get; }

    /// <summary>Name to show when the model has none of its own.</summary>
    string FallbackName { get; }

    /// <summary>Bytes of the weight files.</summary>
    long Bytes { get; }

    bool HasVocabulary { get; }

    /// <summary>Adds the <c>tokenizer.ggml.*</c> keys, if the source has a vocabulary.</summary>
    void WriteVocabulary(GgufMetadata keys);

    /// <exception cref="ModelFormatException">The tensor is missing, of a wrong shape or of an unsupported type.</exception>
    SourceTensor Open(ModelTensor tensor);
}

/// <summary>Rows of a tensor, in llama.cpp's order.</summary>
/// <param name="Type">How the bytes that <paramref name="ReadRows"/> gives are stored.</param>
/// <param name="ReadRows">Fills a buffer with whole rows from the given one on.</param>
internal sealed record SourceTensor(TensorType Type, ReadRows ReadRows);

internal delegate void ReadRows(long firstRow, Span<byte> destination);
