using System.Buffers.Binary;

namespace AgileQuant.Engine.Tokenization;

/// <summary>Reads the fields of one protobuf message, as far as SentencePiece models need it; every length is checked.</summary>
internal ref struct ProtoReader(ReadOnlySpan<byte> message)
{
    private readonly ReadOnlySpan<byte> _message = message;
    private int _at;

    /// <summary>Number of the current field.</summary>
    public int Field { get; private set; }

    /// <summary>A varint, or the bits of a fixed field.</summary>
    public ulong Number { get; private set; }

    /// <summary>Content of a field with a length: text, bytes or a message; empty for others.</summary>
    public ReadOnlySpan<byte> Content { get; private set; }

    /// <summary>A field of 32 bits as a floating-point number.</summary>
    public readonly float Real => BitConverter.UInt32BitsToSingle((uint)Number);

    /// <returns>false at the end.</returns>
    /// <exception cref="FormatException">Truncated, or a field of a kind that protobuf no longer has.</exception>
    public bool Next()
    {
        if (_at == _message.Length)
            return false;
        var tag = Varint();
        if (tag >> 3 is 0 or > 1 << 29)
            throw new FormatException($"field {tag >> 3}");
        Field = (int)(tag >> 3);
        Content = [];
        switch (tag & 7)
        {
            case 0:
                Number = Varint();
                break;
            case 1:
                Number = BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
                break;
            case 2:
                Content = Take(Varint());
                break;
            case 5:
                Number = BinaryPrimitives.ReadUInt32LittleEndian(Take(4));
                break;
            default:
                throw new FormatException($"field {Field} of kind {tag & 7}");
        }

        return true;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (var shift = 0; shift < 64; shift += 7)
        {
            var part = Take(1)[0];
            value |= (ulong)(part & 127) << shift;
            if (part < 128)
                return value;
        }

        throw new FormatException("a number without end");
    }

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)(_message.Length - _at))
            throw new FormatException($"truncated: {count} bytes at {_at} of {_message.Length}");
        _at += (int)count;
        return _message.Slice(_at - (int)count, (int)count);
    }
}
