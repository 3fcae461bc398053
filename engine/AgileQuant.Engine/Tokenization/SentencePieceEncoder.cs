using System.Globalization;
using System.Text;

namespace AgileQuant.Engine.Tokenization;

/// <summary>
/// SentencePiece-style BPE: spaces become U+2581, neighbours merge into the token with the highest score, what is no token in the
/// end becomes byte tokens.
/// </summary>
internal sealed class SentencePieceEncoder : IEncoder
{
    private const char Space = '▁';
    private readonly Vocabulary _vocabulary;
    private readonly Dictionary<string, int> _ids;
    private readonly int[] _byteIds = new int[256];
    private readonly Dictionary<int, byte> _bytes = [];

    public SentencePieceEncoder(Vocabulary vocabulary)
    {
        _vocabulary = vocabulary;
        _ids = new Dictionary<string, int>(vocabulary.Tokens.Count, StringComparer.Ordinal);
        for (var i = 0; i < vocabulary.Tokens.Count; i++)
            _ids.TryAdd(vocabulary.Tokens[i], i);
        for (var b = 0; b < 256; b++)
        {
            _byteIds[b] = _ids.GetValueOrDefault(string.Create(CultureInfo.InvariantCulture, $"<0x{b:X2}>"), -1);
            if (_byteIds[b] >= 0)
                _bytes[_byteIds[b]] = (byte)b;
        }
    }

    public void Encode(string text, List<int> ids)
    {
        if (text.Length == 0)
            return;
        text = (_vocabulary.AddSpacePrefix ? " " + text : text).Replace(' ', Space);
        var symbols = new List<Symbol>(text.Length);
        var table = new PieceTable(text, _ids, _vocabulary.Scores);
        for (var at = 0; at < text.Length;)
        {
            var length = char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1;
            symbols.Add(new Symbol(at, length, table.Find(at, length), 0, 0));
            at += length;
        }

        SymbolMerger.Merge(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(symbols), table, symbol =>
        {
            if (symbol.Id >= 0)
                ids.Add(symbol.Id);
            else
                AddBytes(text.AsSpan(symbol.Start, symbol.Length), ids);
        });
    }

    public void Decode(int id, List<byte> bytes)
    {
        if (_bytes.TryGetValue(id, out var value))
            bytes.Add(value);
        else
            bytes.AddRange(Encoding.UTF8.GetBytes(_vocabulary.Tokens[id].Replace(Space, ' ')));
    }

    private void AddBytes(ReadOnlySpan<char> piece, List<int> ids)
    {
        Span<byte> utf8 = stackalloc byte[Encoding.UTF8.GetMaxByteCount(piece.Length)];
        foreach (var b in utf8[..Encoding.UTF8.GetBytes(piece, utf8)])
        {
            if (_byteIds[b] >= 0)
                ids.Add(_byteIds[b]);
            else if (_vocabulary.UnknownId >= 0)
                ids.Add(_vocabulary.UnknownId);
            else
                throw new ModelFormatException($"the vocabulary has no token for byte {b} and no unknown token");
        }
    }

    private sealed class PieceTable(string text, Dictionary<string, int> ids, IReadOnlyList<float> scores) : IMergeTable
    {
        private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup =
            ids.GetAlternateLookup<ReadOnlySpan<char>>();

        public int Find(int start, int length) => _lookup.TryGetValue(text.AsSpan(start, length), out var id) ? id : -1;

        public bool TryMerge(in Symbol left, in Symbol right, out double priority, out int id)
        {
            id = Find(left.Start, left.Length + right.Length);
            priority = id >= 0 ? -(double)scores[id] : 0;
            return id >= 0;
        }
    }
}
