using System.Buffers.Binary;
using System.IO.Compression;

namespace AgileQuant.Host.Fuzz.Mutation;

/// <summary>safetensors: damages the JSON header and mostly keeps the length in front of it true.</summary>
internal sealed class SafeTensorsMutator : IMutator
{
    private static readonly JsonMutator Json = new();
    private static readonly BinaryMutator Bytes = new(file => file.Length < 8 ? [] : [new Field(0, 8)]);

    public byte[] Mutate(byte[] input, byte[] other, Random random)
    {
        if (random.Next(4) == 0 || Header(input) is not { } header)
            return Bytes.Mutate(input, other, random);
        var changed = Json.Mutate(header, Header(other) ?? [], random);
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, changed.Length);
        return [.. length, .. changed, .. input[(8 + header.Length)..]];
    }

    private static byte[]? Header(byte[] file) =>
        file.Length >= 8 && BinaryPrimitives.ReadUInt64LittleEndian(file) is var length && length <= (ulong)(file.Length - 8)
            ? file[8..(8 + (int)length)]
            : null;
}

/// <summary>A zip file with a pickle inside: damages one entry and packs it again with a true checksum, or the zip itself.</summary>
internal sealed class ZippedPickleMutator : IMutator
{
    private static readonly BinaryMutator Pickle = new(FieldFinder.Pickle);
    private static readonly BinaryMutator Zip = new(FieldFinder.Zip);

    public byte[] Mutate(byte[] input, byte[] other, Random random)
    {
        if (random.Next(4) == 0 || Entries(input) is not { Count: > 0 } entries)
            return Zip.Mutate(input, other, random);
        var chosen = random.Next(4) == 0 ? random.Next(entries.Count) : Math.Max(0, entries.FindIndex(e => e.Name.EndsWith(".pkl", StringComparison.Ordinal)));
        var donor = Entries(other) is { Count: > 0 } theirs ? theirs[random.Next(theirs.Count)].Data : [];
        entries[chosen] = (entries[chosen].Name, Pickle.Mutate(entries[chosen].Data, donor, random));
        using var memory = new MemoryStream();
        using (var zip = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (name, data) in entries)
            {
                var entry = zip.CreateEntry(name, CompressionLevel.NoCompression);
                entry.LastWriteTime = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
                using var stream = entry.Open();
                stream.Write(data);
            }
        }

        return memory.ToArray();
    }

    private static List<(string Name, byte[] Data)>? Entries(byte[] file)
    {
        const int largest = 1 << 20;
        try
        {
            using var zip = new ZipArchive(new MemoryStream(file), ZipArchiveMode.Read);
            var result = new List<(string, byte[])>();
            foreach (var entry in zip.Entries.Where(e => e.Length < largest && e.FullName.Length is > 0 and < 1000).Take(64))
            {
                using var stream = entry.Open();
                using var memory = new MemoryStream();
                stream.CopyTo(memory);
                result.Add((entry.FullName, memory.ToArray()));
            }

            return result;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or ArgumentException or NotSupportedException)
        {
            return null;
        }
    }
}
