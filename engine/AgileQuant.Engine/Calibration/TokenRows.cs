namespace AgileQuant.Engine.Calibration;

/// <summary>The rows of one window in one forward pass: tokens that have not been pruned, with their residual stream.</summary>
internal sealed class TokenRows
{
    public TokenRows(int[] ids, float[] stream)
    {
        Ids = ids;
        Stream = stream;
        Index = [.. Enumerable.Range(0, ids.Length)];
        Positions = [.. Index];
        IsLow = new bool[ids.Length];
    }

    /// <summary>Ids of the whole window.</summary>
    public int[] Ids { get; }

    /// <summary><c>[rows][dimension]</c></summary>
    public float[] Stream { get; set; }

    /// <summary>Place of each row in the window, ascending.</summary>
    public int[] Index { get; private set; }

    /// <summary>Position of each row, by which rotary and linear positions go.</summary>
    public int[] Positions { get; private set; }

    /// <summary>Rows that carry 4-bit activations.</summary>
    public bool[] IsLow { get; private set; }

    public int Count => Index.Length;

    /// <summary>Rows that left, with the stream they left with: place in the window and <c>[dimension]</c>.</summary>
    public List<(int Index, float[] Stream)> Left { get; private init; } = [];

    /// <summary>The same rows, to go on with in another way.</summary>
    public TokenRows Clone() => new(Ids, [.. Stream])
    {
        Index = [.. Index],
        Positions = [.. Positions],
        IsLow = [.. IsLow],
        Left = [.. Left],
    };

    /// <summary>Lets rows leave.</summary>
    /// <param name="stays">For each row.</param>
    /// <param name="compact">Survivors get positions 0..n-1.</param>
    public void Keep(bool[] stays, bool compact)
    {
        var dimension = Stream.Length / Count;
        var rows = Enumerable.Range(0, Count).Where(r => stays[r]).ToArray();
        foreach (var r in Enumerable.Range(0, Count).Where(r => !stays[r]))
            Left.Add((Index[r], Stream[(r * dimension)..((r + 1) * dimension)]));
        Stream = Gather(Stream, rows, dimension);
        Index = [.. rows.Select(r => Index[r])];
        Positions = compact ? [.. Enumerable.Range(0, rows.Length)] : [.. rows.Select(r => Positions[r])];
        IsLow = [.. rows.Select(r => IsLow[r])];
    }

    public static float[] Gather(float[] matrix, int[] rows, int width)
    {
        var result = new float[rows.Length * width];
        for (var r = 0; r < rows.Length; r++)
            matrix.AsSpan(rows[r] * width, width).CopyTo(result.AsSpan(r * width));
        return result;
    }
}
