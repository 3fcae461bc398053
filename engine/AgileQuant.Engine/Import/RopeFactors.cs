using System.Runtime.InteropServices;
using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Import;

/// <summary>Rotary scaling as factors that divide each of the head dimension / 2 frequencies.</summary>
internal static class RopeFactors
{
    public static SourceTensor Constant(float factor) => From(_ => factor);

    public static SourceTensor From(Func<int, float> factor) => new(TensorType.F32, (_, destination) =>
    {
        var values = MemoryMarshal.Cast<byte, float>(destination);
        for (var i = 0; i < values.Length; i++)
            values[i] = factor(i);
    });

    /// <summary>
    /// Llama 3.1's scaling: wavelengths beyond <c>context / low</c> are stretched by the factor, those under
    /// <c>context / high</c> stay, a linear blend of the frequencies between.
    /// </summary>
    public static Func<int, float> Llama3(double ropeBase, int headDimension, double factor, double low, double high, double context) => i =>
    {
        var wavelength = 2 * Math.PI * Math.Pow(ropeBase, 2.0 * i / headDimension);
        if (wavelength < context / high)
            return 1;
        if (wavelength > context / low)
            return (float)factor;
        var smooth = (context / wavelength - low) / (high - low);
        return (float)(1 / ((1 - smooth) / factor + smooth));
    };
}
