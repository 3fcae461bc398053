namespace AgileQuant.Engine.Tokenization;

/// <summary>Which neighbours may become one token, and which pair goes first.</summary>
internal interface IMergeTable
{
    /// <param name="left">A symbol.</param>
    /// <param name="right">The one after it.</param>
    /// <param name="priority">A lower one merges first; of equal ones the leftmost.</param>
    /// <param name="id">Token that the two become.</param>
    bool TryMerge(in Symbol left, in Symbol right, out double priority, out int id);
}

/// <summary>A piece of the text being tokenized; a list linked by index.</summary>
/// <param name="Start">Offset into the text, in the table's own units.</param>
/// <param name="Length">0 when the symbol was merged into the one before it.</param>
/// <param name="Id">Token, -1 if the piece is none.</param>
/// <param name="Previous">Index of the symbol before, -1 at the start.</param>
/// <param name="Next">Index of the symbol after, -1 at the end.</param>
internal record struct Symbol(int Start, int Length, int Id, int Previous, int Next);

/// <summary>Merges neighbours, best pair first, until none can be merged: O(n log n) for any length of text.</summary>
internal static class SymbolMerger
{
    /// <param name="symbols">In text order; links are set here.</param>
    /// <param name="table">The pairs.</param>
    /// <param name="result">Called with what remains, in order.</param>
    public static void Merge<TTable>(Span<Symbol> symbols, TTable table, Action<Symbol> result)
        where TTable : IMergeTable
    {
        var queue = new PriorityQueue<(int Left, int Right, int Length, int Id), (double Priority, int Left)>();
        for (var i = 0; i < symbols.Length; i++)
        {
            symbols[i].Previous = i - 1;
            symbols[i].Next = i + 1 < symbols.Length ? i + 1 : -1;
            if (i > 0)
                Offer(symbols, i - 1, i, table, queue);
        }

        while (queue.TryDequeue(out var pair, out _))
        {
            ref var left = ref symbols[pair.Left];
            ref var right = ref symbols[pair.Right];
            if (left.Length == 0 || right.Length == 0 || left.Length + right.Length != pair.Length)
                continue; // one of the two has changed since
            left.Length = pair.Length;
            left.Id = pair.Id;
            left.Next = right.Next;
            right.Length = 0;
            if (left.Next >= 0)
            {
                symbols[left.Next].Previous = pair.Left;
                Offer(symbols, pair.Left, left.Next, table, queue);
            }

            if (left.Previous >= 0)
                Offer(symbols, left.Previous, pair.Left, table, queue);
        }

        for (var i = symbols.Length > 0 ? 0 : -1; i >= 0; i = symbols[i].Next)
            result(symbols[i]);
    }

    private static void Offer<TTable>(
        Span<Symbol> symbols, int left, int right, TTable table,
        PriorityQueue<(int Left, int Right, int Length, int Id), (double Priority, int Left)> queue)
        where TTable : IMergeTable
    {
        if (table.TryMerge(symbols[left], symbols[right], out var priority, out var id))
            queue.Enqueue((left, right, symbols[left].Length + symbols[right].Length, id), (priority, left));
    }
}
