using System.Text;

namespace AgileQuant.Engine.Tokenization;

/// <summary>Turns text into ids and ids into bytes, without special tokens.</summary>
internal interface IEncoder
{
    void Encode(string text, List<int> ids);

    /// <summary>Appends the bytes that a token stands for.</summary>
    void Decode(int id, List<byte> bytes);
}

/// <summary>Byte-level BPE: words from the pre-tokenizer, their bytes as printable stand-ins, ranked merges.</summary>
internal sealed class ByteLevelEncoder : IEncoder
{
    private static readonly string[] Alphabet = BuildAlphabet();
    private static readonly Dictionary<char, byte> Bytes =
        Enumerable.Range(0, 256).ToDictionary(b => Alphabet[b][0], b => (byte)b);

    private readonly Vocabulary _vocabulary;
    private readonly PreTokenizer _pre;
    private readonly int[] _byteIds;
    private readonly PairTable _merges;
    private readonly Dictionary<string, int>? _wholeWords;

    /// <exception cref="ModelFormatException">A merge names a piece that is not in the vocabulary.</exception>
    public ByteLevelEncoder(Vocabulary vocabulary, string path)
    {
        _vocabulary = vocabulary;
        _pre = PreTokenizers.Find(vocabulary.Pre) ?? throw new ModelFormatException($"{path}: pre-tokenizer '{vocabulary.Pre}'");
        var ids = new Dictionary<string, int>(vocabulary.Tokens.Count, StringComparer.Ordinal);
        for (var i = 0; i < vocabulary.Tokens.Count; i++)
            ids.TryAdd(vocabulary.Tokens[i], i);
        _byteIds = Array.ConvertAll(Alphabet, piece => ids.GetValueOrDefault(piece, -1));
        _merges = new PairTable(vocabulary.Merges, ids, path);
        _wholeWords = vocabulary.TakesWholeWords ? ids : null;
    }

    public void Encode(string text, List<int> ids)
    {
        if (_vocabulary.AddSpacePrefix && text.Length > 0 && !char.IsWhiteSpace(text[0]))
            text = " " + text;
        // Words repeat: each distinct one is merged once.
        var seen = new Dictionary<string, int[]>(StringComparer.Ordinal);
        var lookup = seen.GetAlternateLookup<ReadOnlySpan<char>>();
        PreTokenizers.Split(_pre, text, range =>
        {
            var word = text.AsSpan(range);
            if (!lookup.TryGetValue(word, out var found))
            {
                found = Word(word);
                lookup[word] = found;
            }

            ids.AddRange(found);
        });
    }

    public void Decode(int id, List<byte> bytes)
    {
        foreach (var c in _vocabulary.Tokens[id])
        {
            if (Bytes.TryGetValue(c, out var value))
                bytes.Add(value);
            else
                bytes.AddRange(Encoding.UTF8.GetBytes(c.ToString()));
        }
    }

    /// <summary>GPT-2's printable stand-in for every byte: itself where it is printable Latin-1, else U+0100 and on.</summary>
    internal static string[] BuildAlphabet()
    {
        var table = new string[256];
        var extra = 0;
        for (var b = 0; b < 256; b++)
        {
            var printable = b is (>= 33 and <= 126) or (>= 161 and <= 172) or (>= 174 and <= 255);
            table[b] = ((char)(printable ? b : 256 + extra++)).ToString();
        }

        return table;
    }

    private int[] Word(ReadOnlySpan<char> word)
    {
        var utf8 = new byte[Encoding.UTF8.GetMaxByteCount(word.Length)];
        utf8 = utf8[..Encoding.UTF8.GetBytes(word, utf8)];
        if (_wholeWords is not null
            && _wholeWords.TryGetValue(string.Concat(Array.ConvertAll(utf8, b => Alphabet[b])), out var whole))
        {
            return [whole];
        }

        var symbols = new Symbol[utf8.Length];
        for (var i = 0; i < utf8.Length; i++)
            symbols[i] = new Symbol(i, 1, ByteId(utf8[i]), 0, 0);
        var ids = new List<int>();
        SymbolMerger.Merge(symbols, _merges, symbol => ids.Add(symbol.Id));
        return [.. ids];
    }

    private int ByteId(byte value)
    {
        if (_byteIds[value] >= 0)
            return _byteIds[value];
        return _vocabulary.UnknownId >= 0
            ? _vocabulary.UnknownId
            : throw new ModelFormatException($"the vocabulary has no token for byte {value} and no unknown token");
    }

    /// <summary>Merges by the ids of their two pieces.</summary>
    private sealed class PairTable : IMergeTable
    {
        private readonly Dictionary<long, (int Rank, int Id)> _pairs;

        public PairTable(IReadOnlyList<string> merges, Dictionary<string, int> ids, string path)
        {
            _pairs = new Dictionary<long, (int, int)>(merges.Count);
            for (var rank = 0; rank < merges.Count; rank++)
            {
                var space = merges[rank].IndexOf(' ', 1);
                if (space < 0
                    || !ids.TryGetValue(merges[rank][..space], out var left)
                    || !ids.TryGetValue(merges[rank][(space + 1)..], out var right)
                    || !ids.TryGetValue(string.Concat(merges[rank].AsSpan(0, space), merges[rank].AsSpan(space + 1)), out var merged))
                {
                    throw new ModelFormatException($"{path}: merge {rank} ('{merges[rank]}') uses a piece that is not in the vocabulary");
                }

                _pairs.TryAdd(Key(left, right), (rank, merged));
            }
        }

        public bool TryMerge(in Symbol left, in Symbol right, out double priority, out int id)
        {
            var found = _pairs.TryGetValue(Key(left.Id, right.Id), out var pair);
            (priority, id) = pair;
            return found;
        }

        private static long Key(int left, int right) => ((long)left << 32) | (uint)right;
    }
}
