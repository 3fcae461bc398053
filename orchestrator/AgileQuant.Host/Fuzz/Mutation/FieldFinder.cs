using System.Buffers.Binary;

namespace AgileQuant.Host.Fuzz.Mutation;

/// <summary>
/// Finds the describing numbers of our binary formats by walking them as far as they make sense. Knows the layouts on its own, so
/// that a defect of a reader is not repeated here.
/// </summary>
internal static class FieldFinder
{
    private const int Most = 4000;

    /// <summary>Header of a token file (docs/packed-model.md) and the first ids.</summary>
    public static IReadOnlyList<Field> Tokens(byte[] file) =>
        file.Length < 32 ? [] : [new(4, 4), new(8, 4), new(12, 4), new(16, 4), new(24, 8), .. Enumerable.Range(0, Math.Min(8, (file.Length - 32) / 4)).Select(i => new Field(32 + 4 * i, 4))];

    /// <summary>Counts, lengths, types, dimensions and offsets of a GGUF file.</summary>
    public static IReadOnlyList<Field> Gguf(byte[] file)
    {
        var walk = new Walk(file);
        walk.Number(4); // magic
        walk.Number(4);
        var tensors = walk.Number(8);
        var keys = walk.Number(8);
        for (ulong i = 0; i < keys && walk.Good; i++)
        {
            walk.Skip(walk.Number(8));
            GgufValue(walk, walk.Number(4), 0);
        }

        for (ulong i = 0; i < tensors && walk.Good; i++)
        {
            walk.Skip(walk.Number(8));
            var rank = walk.Number(4);
            for (ulong d = 0; d < rank && walk.Good; d++)
                walk.Number(8);
            walk.Number(4);
            walk.Number(8);
        }

        return walk.Fields;
    }

    /// <summary>Tags, lengths and numbers of protocol buffers: one byte each, of which a mutation makes longer or endless ones.</summary>
    public static IReadOnlyList<Field> ProtocolBuffer(byte[] file)
    {
        var walk = new Walk(file);
        while (walk.Good)
        {
            var tag = walk.Number(1);
            switch (tag & 7)
            {
                case 0:
                    walk.Number(1);
                    break;
                case 1:
                    walk.Number(8);
                    break;
                case 2:
                    walk.Number(1); // then the message inside is walked as if it stood here
                    break;
                case 5:
                    walk.Number(4);
                    break;
            }
        }

        return walk.Fields;
    }

    /// <summary>Arguments of pickle operations that carry lengths, counts or indexes.</summary>
    public static IReadOnlyList<Field> Pickle(byte[] file)
    {
        var found = new List<Field>();
        for (var i = 0; i < file.Length && found.Count < Most; i++)
        {
            found.Add(new Field(i, 1)); // the operation itself
            var argument = (char)file[i] switch
            {
                'K' or 'U' or 'h' or 'q' or 'C' or '\u008c' or '\u0080' => 1,
                'M' => 2,
                'J' or 'X' or 'T' or 'B' or 'j' or 'r' => 4,
                '\u0095' or '\u008d' or '\u008e' => 8,
                _ => 0,
            };
            if (argument > 0 && i + argument < file.Length)
            {
                found.Add(new Field(i + 1, argument));
                if ((char)file[i] is 'X' or '\u008c' or 'U')
                    i += (int)Math.Min(Number(file, i + 1, argument), (ulong)(file.Length - i));
                i += argument;
            }
        }

        return found;
    }

    /// <summary>Numbers in the local headers, the directory and the end record of a zip file.</summary>
    public static IReadOnlyList<Field> Zip(byte[] file)
    {
        var found = new List<Field>();
        for (var i = 0; i + 46 < file.Length && found.Count < Most; i++)
        {
            if (file[i] != 'P' || file[i + 1] != 'K')
                continue;
            (int At, int Size)[] inside = (file[i + 2], file[i + 3]) switch
            {
                (3, 4) => [(6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
                (1, 2) => [(8, 2), (10, 2), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)],
                (6, 6) => [(4, 8), (24, 8), (32, 8), (40, 8), (48, 8)],
                _ => [],
            };
            found.AddRange(inside.Where(f => i + f.At + f.Size <= file.Length).Select(f => new Field(i + f.At, f.Size)));
        }

        var end = file.AsSpan().LastIndexOf("PK\u0005\u0006"u8);
        if (end >= 0 && end + 22 <= file.Length)
            found.AddRange([new(end + 8, 2), new(end + 10, 2), new(end + 12, 4), new(end + 16, 4), new(end + 20, 2)]);
        return found;
    }

    private static void GgufValue(Walk walk, ulong type, int depth)
    {
        ulong[] sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
        if (type == 8)
        {
            walk.Skip(walk.Number(8));
        }
        else if (type == 9 && depth < 3)
        {
            var element = walk.Number(4);
            var count = walk.Number(8);
            if (element is 8 or 9)
            {
                for (ulong i = 0; i < count && walk.Good; i++)
                    GgufValue(walk, element, depth + 1);
            }
            else if (element < 13 && count < 1 << 20)
            {
                walk.Skip(count * sizes[element]);
            }
        }
        else if (type < 13)
        {
            walk.Number((int)Math.Max(1, sizes[type]));
        }
        else
        {
            walk.Skip(ulong.MaxValue);
        }
    }

    private static ulong Number(byte[] file, int at, int size)
    {
        Span<byte> wide = stackalloc byte[8];
        wide.Clear();
        file.AsSpan(at, size).CopyTo(wide);
        return BinaryPrimitives.ReadUInt64LittleEndian(wide);
    }

    /// <summary>Reads numbers front to back and remembers where they stood; goes bad at the end instead of throwing.</summary>
    private sealed class Walk(byte[] file)
    {
        private int _at;

        public List<Field> Fields { get; } = [];

        public bool Good => _at < file.Length && Fields.Count < Most;

        public ulong Number(int size)
        {
            if (_at + size > file.Length)
            {
                _at = file.Length;
                return 0;
            }

            Fields.Add(new Field(_at, size));
            _at += size;
            return FieldFinder.Number(file, _at - size, size);
        }

        public void Skip(ulong bytes) => _at = bytes > (ulong)(file.Length - _at) ? file.Length : _at + (int)bytes;
    }
}
