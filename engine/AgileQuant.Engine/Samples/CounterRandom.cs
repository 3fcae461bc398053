using AgileQuant.Engine.Gguf;

namespace AgileQuant.Engine.Samples;

/// <summary>
/// Nearly normal numbers from a counter: element n of a stream depends on (seed, stream, n) only, so that a tensor can be filled
/// from several threads and comes out the same. The sum of the four 16-bit parts of a SplitMix64 output is approximately
/// normal (Irwin-Hall), with mean 2 * 65535 and variance 4 * (65536^2 - 1) / 12.
/// </summary>
internal readonly struct CounterRandom(int seed, int stream)
{
    private const int Batch = 1024;
    private static readonly float UnitDeviation = (float)(1 / Math.Sqrt(4 * (65536.0 * 65536 - 1) / 12));
    private readonly ulong _key = Mix((uint)seed * 0x9E3779B97F4A7C15UL + (uint)stream + 1);

    /// <param name="first">Number of the first element.</param>
    /// <param name="deviation">Standard deviation; the mean is 0.</param>
    /// <param name="destination">Filled.</param>
    public void Fill(long first, float deviation, Span<Half> destination)
    {
        Span<float> values = stackalloc float[Batch];
        var factor = deviation * UnitDeviation;
        for (var start = 0; start < destination.Length; start += Batch)
        {
            var count = Math.Min(Batch, destination.Length - start);
            for (var i = 0; i < count; i++)
            {
                var bits = Bits(first + start + i);
                var sum = (int)(bits & 0xFFFF) + (int)((bits >> 16) & 0xFFFF) + (int)((bits >> 32) & 0xFFFF) + (int)(bits >> 48);
                values[i] = (sum - 2 * 65535) * factor;
            }

            TensorCodec.ToHalves(values[..count], destination.Slice(start, count));
        }
    }

    /// <summary>64 random bits that depend on the number only.</summary>
    public ulong Bits(long number) => Mix(_key + (ulong)number * 0x9E3779B97F4A7C15UL);

    /// <summary>SplitMix64's finalizer (Steele, Lea, Flood 2014).</summary>
    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }
}
