using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace AgileQuant.Engine;

/// <summary>A tokenized text.</summary>
/// <param name="Ids">Token ids, each in 0..VocabularySize-1.</param>
/// <param name="VocabularySize">Vocabulary of the model the ids are for.</param>
/// <param name="BosId">Id of the begin-of-sequence token, -1 if there is none.</param>
/// <param name="AddsBos">The tokenizer puts BOS in front of a text.</param>
public sealed record TokenData(IReadOnlyList<int> Ids, int VocabularySize, int BosId, bool AddsBos);

/// <summary>Reads and writes token files (docs/packed-model.md, "Token file").</summary>
public static class TokenFile
{
    private const int HeaderBytes = 32;
    private const uint Version = 1;

    /// <summary>Writes to a temporary name and renames.</summary>
    /// <returns>SHA-256 of the file, lower-case hexadecimal.</returns>
    /// <exception cref="ArgumentException">An id is outside the vocabulary.</exception>
    public static string Write(string path, IReadOnlyList<int> ids, int vocabularySize, int bosId, bool addsBos)
    {
        var bytes = Encode(ids, vocabularySize, bosId, addsBos);
        var temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            File.WriteAllBytes(temporary, bytes);
            File.Move(temporary, path, overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }

        return Convert.ToHexStringLower(SHA256.HashData(bytes));
    }

    /// <summary>SHA-256 that the text has as a token file, lower-case hexadecimal.</summary>
    public static string HashOf(TokenData tokens) =>
        Convert.ToHexStringLower(SHA256.HashData(Encode(tokens.Ids, tokens.VocabularySize, tokens.BosId, tokens.AddsBos)));

    /// <exception cref="ModelFormatException">The file is not a complete token file of version 1.</exception>
    public static TokenData Read(string path)
    {
        var bytes = File.ReadAllBytes(path);
        if (bytes.Length < HeaderBytes || !bytes.AsSpan(0, 4).SequenceEqual("AQTK"u8))
            throw new ModelFormatException($"{path}: not a token file (it does not start with AQTK)");
        var version = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4));
        if (version != Version)
            throw new ModelFormatException($"{path}: token file of version {version}; this version reads {Version}");
        var vocabulary = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(8));
        var bos = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(12));
        var flags = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(16));
        var count = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(24));
        if (count != (ulong)(bytes.Length - HeaderBytes) / 4 || (bytes.Length - HeaderBytes) % 4 != 0)
            throw new ModelFormatException($"{path}: truncated or too long: it announces {count} ids in {bytes.Length} bytes");
        if (vocabulary < 1 || bos < -1 || bos >= vocabulary || flags > 1)
            throw new ModelFormatException($"{path}: corrupt header (vocabulary {vocabulary}, BOS {bos}, flags {flags})");
        var ids = new int[count];
        bytes.AsSpan(HeaderBytes).CopyTo(MemoryMarshal.AsBytes(ids.AsSpan()));
        for (var i = 0; i < ids.Length; i++)
        {
            if (!BitConverter.IsLittleEndian)
                ids[i] = BinaryPrimitives.ReverseEndianness(ids[i]);
            if (ids[i] < 0 || ids[i] >= vocabulary)
                throw new ModelFormatException($"{path}: id {ids[i]} at {i} is outside the vocabulary of {vocabulary}");
        }

        return new TokenData(ids, vocabulary, bos, (flags & 1) != 0);
    }

    private static byte[] Encode(IReadOnlyList<int> ids, int vocabularySize, int bosId, bool addsBos)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(bosId, vocabularySize);
        var bytes = new byte[checked(HeaderBytes + ids.Count * 4)];
        "AQTK"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), (uint)vocabularySize);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(12), Math.Max(bosId, -1));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(16), addsBos ? 1u : 0u);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), (ulong)ids.Count);
        for (var i = 0; i < ids.Count; i++)
        {
            if (ids[i] < 0 || ids[i] >= vocabularySize)
                throw new ArgumentException($"id {ids[i]} at {i} is outside the vocabulary of {vocabularySize}", nameof(ids));
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(HeaderBytes + 4 * i), ids[i]);
        }

        return bytes;
    }
}
