namespace AgileQuant.Agent.Protocol;

/// <summary>An event and the journal offset just after its line.</summary>
public readonly record struct JournalEntry(long NextOffset, EngineEvent Event);

/// <summary>
/// Cuts a journal that arrives in chunks into events. Bytes after the last newline wait for the rest of their line and are
/// not counted in <see cref="Offset"/>, so following again from it loses nothing and repeats nothing.
/// </summary>
public sealed class JournalReader(long offset = 0)
{
    /// <summary>A longer line is no event of ours; it is dropped up to its newline and surfaced as unknown.</summary>
    public const int MaxLineBytes = 1 << 20;

    private readonly List<byte> _pending = [];
    private long _dropped;

    /// <summary>Journal offset after the last whole line.</summary>
    public long Offset { get; private set; } = offset;

    /// <summary>Takes the next bytes and returns the events they complete, in order.</summary>
    public IReadOnlyList<JournalEntry> Append(ReadOnlySpan<byte> bytes)
    {
        var entries = new List<JournalEntry>();
        while (bytes.IndexOf((byte)'\n') is var end and >= 0)
        {
            Keep(bytes[..end]);
            bytes = bytes[(end + 1)..];
            entries.AddRange(TakeLine());
        }

        Keep(bytes);
        return entries;
    }

    private void Keep(ReadOnlySpan<byte> bytes)
    {
        var room = Math.Min(bytes.Length, MaxLineBytes - _pending.Count);
        _pending.AddRange(bytes[..room]);
        _dropped += bytes.Length - room;
    }

    private IEnumerable<JournalEntry> TakeLine()
    {
        Offset += _pending.Count + _dropped + 1;
        var line = _pending.ToArray();
        var dropped = _dropped;
        _pending.Clear();
        _dropped = 0;
        if (dropped > 0)
            yield return new JournalEntry(Offset, new UnknownEvent("", $"a line of {line.Length + dropped} bytes"));
        else if (line.Length > 0)
            yield return new JournalEntry(Offset, ProtocolJson.ParseEvent(line));
    }
}
