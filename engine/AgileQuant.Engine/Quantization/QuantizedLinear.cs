using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace AgileQuant.Engine.Quantization;

/// <summary>A linear whose weights are integers, columns in places (docs/packed-model.md, "TRIP").</summary>
internal sealed class QuantizedLinear
{
    public QuantizedLinear(string name, int inputs, int outputs, WeightFormat format)
    {
        (Name, Inputs, Outputs, Format) = (name, inputs, outputs, format);
        var (size, count) = format.Groups(inputs);
        Padded = size * count;
        Values = new sbyte[(long)Padded * outputs];
        Scales = new float[(long)count * outputs];
        Zeros = new sbyte[format.HasZeros ? Scales.Length : 0];
    }

    /// <summary>Without <c>.weight</c>.</summary>
    public string Name { get; }

    public int Inputs { get; }

    public int Outputs { get; }

    public WeightFormat Format { get; }

    /// <summary>Elements of a stored row.</summary>
    public int Padded { get; }

    /// <summary><c>[outputs][padded]</c>; padding is the zero point.</summary>
    public sbyte[] Values { get; }

    /// <summary><c>[outputs][groups]</c></summary>
    public float[] Scales { get; }

    /// <summary><c>[outputs][groups]</c>, or empty.</summary>
    public sbyte[] Zeros { get; }

    /// <summary>fp32 bias, <c>[outputs]</c>; null: none.</summary>
    public float[]? Bias { get; set; }

    /// <summary>Sets a row from values in places and the scales that are there already.</summary>
    public void FinishRow(int row, ReadOnlySpan<sbyte> values)
    {
        var (size, count) = Format.Groups(Inputs);
        values.CopyTo(Values.AsSpan(row * Padded, Inputs));
        if (Format.HasZeros && Inputs < Padded)
            Values.AsSpan(row * Padded + Inputs, Padded - Inputs).Fill(Zeros[row * count + count - 1]);
    }

    /// <summary>The weights that the integers stand for, <c>[outputs][inputs]</c>, in places.</summary>
    public float[] Dequantize()
    {
        var (size, count) = Format.Groups(Inputs);
        var result = new float[(long)Inputs * Outputs];
        Parallel.For(0, Outputs, o =>
        {
            for (var j = 0; j < Inputs; j++)
            {
                var g = o * count + j / size;
                result[o * Inputs + j] = Scales[g] * (Values[o * Padded + j] - (Zeros.Length > 0 ? Zeros[g] : 0));
            }
        });
        return result;
    }

    /// <summary>Weights as a pack stores them.</summary>
    public byte[] WeightBytes()
    {
        if (Format.Bits == 8)
            return MemoryMarshal.AsBytes(Values.AsSpan()).ToArray();
        var bytes = new byte[Values.Length / 2];
        Parallel.For(0, Outputs, o =>
        {
            var row = Values.AsSpan(o * Padded, Padded).ToArray();
            if (Format.HasZeros)
                TensorPrimitives.Subtract(row, (sbyte)8, row); // PackNibbles adds it
            Quantizers.PackNibbles(row, bytes.AsSpan(o * Padded / 2, Padded / 2));
        });
        return bytes;
    }

    /// <summary>Scales as a pack stores them: fp32 for int8, fp16 for int4.</summary>
    public byte[] ScaleBytes() => Format.Bits == 8
        ? MemoryMarshal.AsBytes(Scales.AsSpan()).ToArray()
        : MemoryMarshal.AsBytes(Array.ConvertAll(Scales, s => (Half)s).AsSpan()).ToArray();

    public byte[] ZeroBytes() => MemoryMarshal.AsBytes(Zeros.AsSpan()).ToArray();
}
