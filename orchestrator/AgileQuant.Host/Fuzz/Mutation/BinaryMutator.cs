using System.Buffers.Binary;

namespace AgileQuant.Host.Fuzz.Mutation;

/// <summary>A number in a binary file: a length, a count, an offset, a size, a type.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Size">1, 2, 4 or 8 bytes, little-endian.</param>
internal readonly record struct Field(int Offset, int Size);

/// <summary>
/// Damages a binary file where it hurts: numbers that describe the file get values at the edges of their type or near the truth;
/// besides, bytes flip, parts are cut off, repeated, moved, or come from another file.
/// </summary>
/// <param name="fields">Finds the describing numbers of a file as far as it can be read; must not throw.</param>
internal sealed class BinaryMutator(Func<byte[], IReadOnlyList<Field>> fields) : IMutator
{
    private const int LargestGrowth = 1 << 16;

    private static readonly ulong[] Edges =
    [
        0, 1, 2, 7, 31, 32, 33, 127, 128, 255, 256, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 1UL << 40,
        (1UL << 61) - 1, 1UL << 61, 1UL << 62, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFE0, 0xFFFFFFFFFFFFFFFF,
    ];

    public byte[] Mutate(byte[] input, byte[] other, Random random)
    {
        if (input.Length == 0)
            return [(byte)random.Next(256)];
        if (random.Next(2) == 0 && fields(input) is { Count: > 0 } known)
            return Renumber(input, known[random.Next(known.Count)], random);
        var at = random.Next(input.Length);
        var length = Math.Min(input.Length - at, 1 << random.Next(12));
        switch (random.Next(7))
        {
            case 0:
                var flipped = (byte[])input.Clone();
                flipped[at] ^= (byte)(1 << random.Next(8));
                return flipped;
            case 1:
                var changed = (byte[])input.Clone();
                random.NextBytes(changed.AsSpan(at, Math.Min(length, 8)));
                return changed;
            case 2:
                return input[..at];
            case 3:
                return [.. input[..at], .. input[(at + length)..]];
            case 4:
                return input.Length > LargestGrowth ? input : [.. input[..(at + length)], .. input[at..]];
            case 5:
                var zeroed = (byte[])input.Clone();
                zeroed.AsSpan(at, length).Fill((byte)(random.Next(2) * 255));
                return zeroed;
            default:
                if (other.Length == 0)
                    return input;
                var from = random.Next(other.Length);
                return [.. input[..at], .. other[from..Math.Min(other.Length, from + length)], .. input[Math.Min(input.Length, at + length)..]];
        }
    }

    private static byte[] Renumber(byte[] input, Field field, Random random)
    {
        var result = (byte[])input.Clone();
        var place = result.AsSpan(field.Offset, field.Size);
        Span<byte> wide = stackalloc byte[8];
        wide.Clear();
        place.CopyTo(wide);
        var old = BinaryPrimitives.ReadUInt64LittleEndian(wide);
        var value = random.Next(4) switch
        {
            0 => old + (ulong)random.Next(-3, 4),
            1 => old * (ulong)random.Next(2, 5),
            2 => (ulong)input.Length + (ulong)random.Next(-64, 65),
            _ => Edges[random.Next(Edges.Length)],
        };
        BinaryPrimitives.WriteUInt64LittleEndian(wide, value);
        wide[..field.Size].CopyTo(place);
        return result;
    }
}
