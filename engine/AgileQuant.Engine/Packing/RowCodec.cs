using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Packing;

/// <summary>How one row of weights is stored in a pack.</summary>
internal abstract class RowCodec
{
    public abstract TensorType Type { get; }

    /// <summary>Type of the scales beside the weights; null if there are none.</summary>
    public virtual TensorType? ScaleType => null;

    /// <summary>Fastest dimension of the stored tensor for rows of that many elements.</summary>
    public virtual int StoredLength(int length) => length;

    public long RowBytes(int length) => Type.RowBytes(StoredLength(length));

    public virtual int ScaleBytes(int length) => 0;

    /// <returns>false when the row cannot be stored: not finite, or beyond fp16.</returns>
    public abstract bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> scales);
}

internal sealed class FloatCodec : RowCodec
{
    public override TensorType Type => TensorType.F32;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> scales)
    {
        MemoryMarshal.AsBytes(row).CopyTo(weights);
        return TensorPrimitives.IsFiniteAll(row);
    }
}

internal sealed class HalfCodec : RowCodec
{
    public override TensorType Type => TensorType.F16;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> scales) =>
        TensorCodec.ToHalves(row, MemoryMarshal.Cast<byte, Half>(weights));
}

internal sealed class Int8Codec : RowCodec
{
    public override TensorType Type => TensorType.I8;

    public override TensorType? ScaleType => TensorType.F32;

    public override int ScaleBytes(int length) => 4;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> scales)
    {
        if (!TensorPrimitives.IsFiniteAll(row))
            return false;
        MemoryMarshal.Write(scales, Quantizers.Int8Row(row, MemoryMarshal.Cast<byte, sbyte>(weights)));
        return true;
    }
}

internal sealed class Int4Codec(int groupSize) : RowCodec
{
    public override TensorType Type => TensorType.I8;

    public override TensorType? ScaleType => TensorType.F16;

    public override int StoredLength(int length)
    {
        var (size, count) = Quantizers.Groups(length, groupSize);
        return size * count / 2;
    }

    public override int ScaleBytes(int length) => 2 * Quantizers.Groups(length, groupSize).Count;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> scales)
    {
        if (!TensorPrimitives.IsFiniteAll(row))
            return false;
        var (size, count) = Quantizers.Groups(row.Length, groupSize);
        var quantized = new sbyte[size * count];
        var stored = MemoryMarshal.Cast<byte, Half>(scales);
        for (var g = 0; g < count; g++)
        {
            var length = Math.Min(size, row.Length - g * size);
            stored[g] = Quantizers.Int4Group(row.Slice(g * size, length), quantized.AsSpan(g * size, length));
            if (!Half.IsFinite(stored[g]))
                return false;
        }

        Quantizers.PackNibbles(quantized, weights);
        return true;
    }
}
