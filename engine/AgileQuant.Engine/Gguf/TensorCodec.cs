using System.Buffers.Binary;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace AgileQuant.Engine.Gguf;

/// <summary>Conversions between stored elements and fp32. Widening is exact; narrowing rounds half to even.</summary>
public static class TensorCodec
{
    /// <summary>Whole stored blocks to one fp32 for each element.</summary>
    public static void ToFloats(TensorType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        switch (type)
        {
            case TensorType.F32:
                source.CopyTo(MemoryMarshal.AsBytes(destination));
                break;
            case TensorType.F16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), destination);
                break;
            case TensorType.BF16:
                var halves = MemoryMarshal.Cast<byte, ushort>(source);
                for (var i = 0; i < halves.Length; i++)
                    destination[i] = BitConverter.UInt32BitsToSingle((uint)halves[i] << 16);
                break;
            case TensorType.Q80:
                for (var b = 0; b < source.Length / 34; b++)
                    UnpackQ8(source.Slice(b * 34, 34), destination.Slice(b * 32, 32));
                break;
            case TensorType.Q40:
                for (var b = 0; b < source.Length / 18; b++)
                    UnpackQ4(source.Slice(b * 18, 18), destination.Slice(b * 32, 32));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "has no fp32 form of its own");
        }
    }

    /// <summary>fp32 to fp16.</summary>
    /// <returns>false when a value is not finite in fp16.</returns>
    public static bool ToHalves(ReadOnlySpan<float> source, Span<Half> destination)
    {
        TensorPrimitives.ConvertToHalf(source, destination);
        foreach (var value in destination)
        {
            if (!Half.IsFinite(value))
                return false;
        }

        return true;
    }

    /// <summary>fp32 to bf16.</summary>
    /// <returns>false when a value is not finite in bf16.</returns>
    public static bool ToBrain(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        for (var i = 0; i < source.Length; i++)
        {
            var bits = BitConverter.SingleToUInt32Bits(source[i]);
            destination[i] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
            if (!float.IsFinite(source[i]) || (destination[i] & 0x7F80) == 0x7F80)
                return false;
        }

        return true;
    }

    /// <summary>Q8_0: <c>w = d * q</c>.</summary>
    private static void UnpackQ8(ReadOnlySpan<byte> block, Span<float> values)
    {
        var scale = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (var i = 0; i < 32; i++)
            values[i] = scale * (sbyte)block[2 + i];
    }

    /// <summary>Q40: <c>w = d * (q - 8)</c>; byte j holds elements j (low) and j + 16 (high).</summary>
    private static void UnpackQ4(ReadOnlySpan<byte> block, Span<float> values)
    {
        var scale = (float)BinaryPrimitives.ReadHalfLittleEndian(block);
        for (var j = 0; j < 16; j++)
        {
            values[j] = scale * ((block[2 + j] & 15) - 8);
            values[j + 16] = scale * ((block[2 + j] >> 4) - 8);
        }
    }
}
