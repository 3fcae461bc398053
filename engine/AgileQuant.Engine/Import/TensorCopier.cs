using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Import;

/// <summary>
/// Streams tensors into a canonical file, some rows at a time and through the same buffers: a model of any size takes the memory of
/// one chunk, at least one row.
/// </summary>
internal sealed class TensorCopier(GgufWriter writer)
{
    private const int ChunkElements = 1 << 20;
    private byte[] _bytes = [];
    private float[] _floats = [];
    private Half[] _halves = [];

    /// <param name="source">Rows as they are stored.</param>
    /// <param name="output">The writer's current tensor, of the source's type, F32, or F16.</param>
    /// <param name="wrote">Told the bytes of every chunk that is written.</param>
    /// <exception cref="ModelFormatException">A value that fp16 cannot hold.</exception>
    public void Copy(SourceTensor source, GgufTensor output, Action<long> wrote)
    {
        var rowBytes = source.Type.RowBytes(output.RowLength);
        var rowsAtOnce = (int)Math.Clamp(ChunkElements / output.RowLength, 1, output.Rows);
        for (long row = 0; row < output.Rows; row += rowsAtOnce)
        {
            var rows = (int)Math.Min(rowsAtOnce, output.Rows - row);
            var bytes = Room(ref _bytes, checked((int)(rows * rowBytes)));
            source.ReadRows(row, bytes);
            Write(source.Type, bytes, output, checked((int)(rows * output.RowLength)));
            wrote(rows * output.Type.RowBytes(output.RowLength));
        }
    }

    private void Write(TensorType sourceType, ReadOnlySpan<byte> bytes, GgufTensor output, int elements)
    {
        if (sourceType == output.Type)
        {
            writer.Write(bytes);
            return;
        }

        var floats = Room(ref _floats, elements);
        TensorCodec.ToFloats(sourceType, bytes, floats);
        if (output.Type == TensorType.F32)
        {
            writer.WriteValues<float>(floats);
            return;
        }

        var halves = Room(ref _halves, elements);
        if (!TensorCodec.ToHalves(floats, halves))
            throw new ModelFormatException($"tensor {output.Name} has values that fp16 cannot hold");
        writer.WriteValues<Half>(halves);
    }

    private static Span<T> Room<T>(ref T[] buffer, int length)
    {
        if (buffer.Length < length)
            buffer = new T[length];
        return buffer.AsSpan(0, length);
    }
}
