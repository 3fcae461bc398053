using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Packing;

/// <summary>A small tensor that stands beside quantized weights.</summary>
/// <param name="Suffix"><c>.scale</c> or <c>.zero</c>, in place of <c>.weight</c>.</param>
/// <param name="Type">Of its elements.</param>
/// <param name="PerRow">Elements for each row of weights.</param>
/// <param name="IsVector">One element a row, stored as a vector.</param>
internal sealed record SideTensor(string Suffix, TensorType Type, int PerRow, bool IsVector)
{
    public int RowBytes => (int)Type.RowBytes(PerRow);
}

/// <summary>How one row of weights is stored in a pack.</summary>
internal abstract class RowCodec
{
    public abstract TensorType Type { get; }

    /// <summary>What stands beside rows of that many elements, in file order.</summary>
    public virtual IReadOnlyList<SideTensor> Sides(int length) => [];

    /// <summary>Fastest dimension of the stored tensor for rows of that many elements.</summary>
    public virtual int StoredLength(int length) => length;

    public long RowBytes(int length) => Type.RowBytes(StoredLength(length));

    /// <param name="row">fp32 values.</param>
    /// <param name="weights">Gets the stored row.</param>
    /// <param name="sides">Gets the row's part of every <see cref="Sides"/>, one after the other.</param>
    /// <returns>false when the row cannot be stored: not finite, or beyond fp16.</returns>
    public abstract bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides);
}

internal sealed class FloatCodec : RowCodec
{
    public override TensorType Type => TensorType.F32;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides)
    {
        MemoryMarshal.AsBytes(row).CopyTo(weights);
        return TensorPrimitives.IsFiniteAll(row);
    }
}

internal sealed class HalfCodec : RowCodec
{
    public override TensorType Type => TensorType.F16;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides) =>
        TensorCodec.ToHalves(row, MemoryMarshal.Cast<byte, Half>(weights));
}

internal sealed class Int8Codec : RowCodec
{
    public override TensorType Type => TensorType.I8;

    public override IReadOnlyList<SideTensor> Sides(int length) => [new(".scale", TensorType.F32, 1, IsVector: true)];

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides)
    {
        if (!TensorPrimitives.IsFiniteAll(row))
            return false;
        MemoryMarshal.Write(sides, Quantizers.Int8Row(row, MemoryMarshal.Cast<byte, sbyte>(weights)));
        return true;
    }
}

internal sealed class BrainCodec : RowCodec
{
    public override TensorType Type => TensorType.BF16;

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides) =>
        TensorCodec.ToBrain(row, MemoryMarshal.Cast<byte, ushort>(weights));
}

internal sealed class Int4Codec(int groupSize) : RowCodec
{
    public override TensorType Type => TensorType.I8;

    public override int StoredLength(int length)
    {
        var (size, count) = Quantizers.Groups(length, groupSize);
        return size * count / 2;
    }

    public override IReadOnlyList<SideTensor> Sides(int length) =>
        [new(".scale", TensorType.F16, Quantizers.Groups(length, groupSize).Count, IsVector: false)];

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides)
    {
        if (!TensorPrimitives.IsFiniteAll(row))
            return false;
        var (size, count) = Quantizers.Groups(row.Length, groupSize);
        var quantized = new sbyte[size * count];
        var scales = MemoryMarshal.Cast<byte, Half>(sides);
        for (var g = 0; g < count; g++)
        {
            var length = Math.Min(size, row.Length - g * size);
            scales[g] = Quantizers.Int4Group(row.Slice(g * size, length), quantized.AsSpan(g * size, length));
            if (!Half.IsFinite(scales[g]))
                return false;
        }

        Quantizers.PackNibbles(quantized, weights);
        return true;
    }
}

/// <summary>int4 with a zero point a group.</summary>
internal sealed class Int4ZeroCodec(int groupSize) : RowCodec
{
    public override TensorType Type => TensorType.I8;

    public override int StoredLength(int length)
    {
        var (size, count) = Quantizers.Groups(length, groupSize);
        return size * count / 2;
    }

    public override IReadOnlyList<SideTensor> Sides(int length)
    {
        var groups = Quantizers.Groups(length, groupSize).Count;
        return [new(".scale", TensorType.F16, groups, IsVector: false), new(".zero", TensorType.I8, groups, IsVector: false)];
    }

    public override bool Encode(ReadOnlySpan<float> row, Span<byte> weights, Span<byte> sides)
    {
        if (!TensorPrimitives.IsFiniteAll(row))
            return false;
        var (size, count) = Quantizers.Groups(row.Length, groupSize);
        var quantized = new sbyte[size * count];
        var scales = MemoryMarshal.Cast<byte, Half>(sides[..(2 * count)]);
        for (var g = 0; g < count; g++)
        {
            var length = Math.Min(size, row.Length - g * size);
            var group = quantized.AsSpan(g * size, size);
            (scales[g], var zero) = Quantizers.Int4GroupWithZero(row.Slice(g * size, length), group[..length]);
            if (!Half.IsFinite(scales[g]))
                return false;
            group[length..].Fill((sbyte)zero);
            sides[2 * count + g] = (byte)zero;
            foreach (ref var q in group)
                q -= 8; // PackNibbles adds it
        }

        Quantizers.PackNibbles(quantized, weights);
        return true;
    }
}
