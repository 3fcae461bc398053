using System.Buffers.Binary;
using System.Text;

namespace AgileQuant.Engine.Pickle;

/// <summary>
/// A restricted unpickler: the opcodes of protocol 2 that a PyTorch state dict needs. It builds dicts with text keys, tuples,
/// integers, booleans, text and tensors, and nothing else: it calls no code that a pickle names, and refuses names it does not
/// know. Stack, memo, text and sizes are bounded by the input.
/// </summary>
/// <param name="input">The pickle, <c>data.pkl</c>.</param>
/// <param name="path">For messages.</param>
internal sealed class PickleMachine(byte[] input, string path)
{
    private const int MaxItems = 1 << 20; // of stack and memo
    private const int MaxText = 1 << 16;
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);
    private static readonly object Mark = new();
    private readonly List<object?> _stack = [];
    private readonly Dictionary<uint, object?> _memo = [];
    private int _at;

    /// <returns>What the pickle holds.</returns>
    /// <exception cref="ModelFormatException">Truncated, corrupt, or it holds something that a state dict does not.</exception>
    public object? Run()
    {
        while (true)
        {
            var opcode = Bytes(1)[0];
            if (opcode == '.')
                return _stack.Count == 1 ? Pop() : throw Bad($"it ends with {_stack.Count} values on the stack");
            Step(opcode);
            if (_stack.Count > MaxItems || _memo.Count > MaxItems)
                throw Bad($"it holds more than {MaxItems} values");
        }
    }

    private void Step(byte opcode)
    {
        switch (opcode)
        {
            case 0x80:
                if (Bytes(1)[0] is var protocol and not 2)
                    throw Bad($"pickle protocol {protocol} is not supported; 2, which torch.save uses, is");
                break;
            case (byte)'(':
                Push(Mark);
                break;
            case (byte)'N':
                Push(null);
                break;
            case 0x88 or 0x89:
                Push(opcode == 0x88);
                break;
            case (byte)'K':
                Push((long)Bytes(1)[0]);
                break;
            case (byte)'M':
                Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2)));
                break;
            case (byte)'J':
                Push((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4)));
                break;
            case 0x8A:
                Push(LongInteger());
                break;
            case (byte)'X':
                Push(Text());
                break;
            case (byte)'q':
                Remember(Bytes(1)[0]);
                break;
            case (byte)'r':
                Remember(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)));
                break;
            case (byte)'h':
                Recall(Bytes(1)[0]);
                break;
            case (byte)'j':
                Recall(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)));
                break;
            default:
                Build(opcode);
                break;
        }
    }

    private void Build(byte opcode)
    {
        switch (opcode)
        {
            case (byte)'}':
                Push(new PickleDictionary { IsOrdered = false });
                break;
            case (byte)')':
                Push(Array.Empty<object?>());
                break;
            case (byte)'t':
                Push(UpToMark());
                break;
            case >= 0x85 and <= 0x87:
                Push(Top(opcode - 0x84));
                break;
            case (byte)'s':
                SetItems(Top(2));
                break;
            case (byte)'u':
                SetItems(UpToMark());
                break;
            case (byte)'c':
                Push(StateDictBuilder.Global(Line(), Line(), Bad));
                break;
            case (byte)'Q':
                Push(StateDictBuilder.Storage(Pop(), Bad));
                break;
            case (byte)'R':
                var arguments = Pop() as object?[] ?? throw Bad("a call without a tuple of arguments");
                Push(StateDictBuilder.Call(Pop(), arguments, Bad));
                break;
            case (byte)'b':
                if (Pop() is not PickleDictionary || Peek() is not PickleDictionary { IsOrdered: true })
                    throw Bad("it sets the state of something that is no OrderedDict");
                break;
            default:
                throw Bad($"opcode 0x{opcode:x2} at {_at - 1} is not one a state dict needs; "
                    + "save the model's state_dict() with torch.save, or as safetensors");
        }
    }

    private void SetItems(object?[] items)
    {
        if (Peek() is not PickleDictionary dictionary || items.Length % 2 != 0)
            throw Bad("items are set on something that is no dict");
        for (var i = 0; i < items.Length; i += 2)
        {
            if (items[i] is not string key)
                throw Bad("a dict has a key that is not text");
            dictionary.Items[key] = items[i + 1];
        }
    }

    private long LongInteger()
    {
        var count = Bytes(1)[0];
        if (count > 8)
            throw Bad($"an integer of {count} bytes");
        var bytes = Bytes(count);
        long value = 0;
        for (var i = count - 1; i >= 0; i--)
            value = (value << 8) | bytes[i];
        return count is > 0 and < 8 && bytes[^1] >= 0x80 ? value - (1L << (8 * count)) : value;
    }

    private string Text()
    {
        var length = BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4));
        if (length > MaxText)
            throw Bad($"a text of {length} bytes");
        try
        {
            return StrictUtf8.GetString(Bytes((int)length));
        }
        catch (DecoderFallbackException)
        {
            throw Bad("a text that is not UTF-8");
        }
    }

    /// <summary>ASCII up to the end of the line, as names of globals are written.</summary>
    private string Line()
    {
        var length = input.AsSpan(_at).IndexOf((byte)'\n');
        if (length is < 0 or > 256)
            throw Bad("a name without end");
        var line = Encoding.ASCII.GetString(Bytes(length));
        _at++;
        return line;
    }

    private void Remember(uint index) => _memo[index] = Peek();

    private void Recall(uint index) =>
        Push(_memo.TryGetValue(index, out var value) ? value : throw Bad($"it recalls value {index}, which was never kept"));

    private void Push(object? value) => _stack.Add(value);

    private object? Peek() => _stack.Count > 0 && _stack[^1] != Mark ? _stack[^1] : throw Bad("its stack runs empty");

    private object? Pop() => Top(1)[0];

    private object?[] Top(int count)
    {
        if (_stack.Count < count)
            throw Bad("its stack runs empty");
        var values = _stack[^count..].ToArray();
        if (values.Contains(Mark))
            throw Bad("its stack runs empty");
        _stack.RemoveRange(_stack.Count - count, count);
        return values;
    }

    private object?[] UpToMark()
    {
        var mark = _stack.LastIndexOf(Mark);
        if (mark < 0)
            throw Bad("a mark is missing");
        var values = _stack[(mark + 1)..].ToArray();
        _stack.RemoveRange(mark, _stack.Count - mark);
        return values;
    }

    private ReadOnlySpan<byte> Bytes(int count)
    {
        if (input.Length - _at < count)
            throw Bad("it is truncated");
        _at += count;
        return input.AsSpan(_at - count, count);
    }

    private ModelFormatException Bad(string problem) => new($"{path}: cannot be read as a PyTorch state dict: {problem}");
}
