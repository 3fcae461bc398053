using AgileQuant.Engine.Gguf;
using AgileQuant.Engine.Quantization;

namespace AgileQuant.Engine.Reference;

/// <summary>Reads linears of a packed model. What a linear is follows from its tensors: 16 bits without a scale, else int8 or int4 by the scale.</summary>
internal sealed class LinearReader(GgufFile pack, int groupSize)
{
    private readonly bool _isPacked = pack.Metadata.Contains("agilequant.format");

    /// <param name="name">Without <c>.weight</c>.</param>
    /// <param name="inputs">Width of the input.</param>
    /// <param name="outputs">Rows.</param>
    /// <param name="input">How integer forms quantize their input.</param>
    public Linear Read(string name, int inputs, int outputs, LinearInput input)
    {
        var weight = pack.Tensor(name + ".weight");
        var bias = pack.Find(name + ".bias") is { } added ? pack.ReadFloats(Expect(added, TensorType.F32, outputs)) : [];
        if (pack.Find(name + ".scale") is not { } scale)
        {
            // A model that is not packed has its weights in the type it came in; the arithmetic is that of fp16.
            var isBrain = _isPacked && weight.Type == TensorType.BF16;
            var type = !_isPacked || isBrain ? weight.Type : TensorType.F16;
            return HalfLinear.FromRows(pack.ReadFloats(Expect(weight, type, inputs, outputs)), inputs, outputs, isBrain, bias);
        }

        return scale.Type == TensorType.F32
            ? Int8(weight, scale, inputs, outputs, input, bias)
            : Int4(name, weight, scale, inputs, outputs, input, bias);
    }

    private Int8Linear Int8(GgufTensor weight, GgufTensor scale, int inputs, int outputs, LinearInput input, float[] bias) => new()
    {
        Inputs = inputs,
        Outputs = outputs,
        Input = input,
        Weights = Array.ConvertAll(pack.ReadBytes(Expect(weight, TensorType.I8, inputs, outputs)), b => (int)(sbyte)b),
        Scales = pack.ReadFloats(Expect(scale, TensorType.F32, outputs)),
        Bias = bias,
    };

    private Int4Linear Int4(
        string name, GgufTensor weight, GgufTensor scale, int inputs, int outputs, LinearInput input, float[] bias)
    {
        var (size, count) = Quantizers.Groups(inputs, groupSize);
        Expect(weight, TensorType.I8, size * count / 2, outputs);
        Expect(scale, TensorType.F16, count, outputs);
        var bytes = pack.ReadBytes(weight);
        var weights = new int[bytes.Length * 2];
        Quantizers.UnpackNibbles(bytes, weights);
        if (pack.Find(name + ".zero") is { } zero)
        {
            // Stored plainly, 0..15: unpacking took 8 off; the weight is s * (q - z).
            var zeros = pack.ReadBytes(Expect(zero, TensorType.I8, count, outputs));
            for (var i = 0; i < weights.Length; i++)
                weights[i] += 8 - (sbyte)zeros[i / size];
        }

        return new Int4Linear
        {
            Inputs = inputs,
            Outputs = outputs,
            Input = input,
            GroupSize = size,
            Groups = count,
            Weights = weights,
            Scales = pack.ReadFloats(scale),
            Bias = bias,
        };
    }

    private GgufTensor Expect(GgufTensor tensor, TensorType type, params long[] dimensions)
    {
        if (tensor.Type != type || !tensor.Dimensions.SequenceEqual(dimensions))
        {
            throw new ModelFormatException($"{pack.Path}: tensor {tensor.Name} is {tensor.Type} [{string.Join(", ", tensor.Dimensions)}], "
                + $"{type} [{string.Join(", ", dimensions)}] was expected");
        }

        return tensor;
    }
}
