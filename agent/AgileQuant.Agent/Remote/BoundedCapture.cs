using System.Buffers;
using System.Text;

namespace AgileQuant.Agent;

/// <summary>Keeps the first bytes of a stream up to a limit, and its last few beside them.</summary>
internal sealed class BoundedCapture(int limit)
{
    private const int TailBytes = 256;

    private readonly ArrayBufferWriter<byte> _head = new();
    private byte[] _tail = [];

    public bool Truncated { get; private set; }

    public string Text => Encoding.UTF8.GetString(_head.WrittenSpan);

    /// <summary>The last bytes, whether kept or dropped.</summary>
    public string Tail => Encoding.UTF8.GetString(_tail);

    public void Append(ReadOnlySpan<byte> bytes)
    {
        var room = Math.Min(bytes.Length, limit - _head.WrittenCount);
        _head.Write(bytes[..room]);
        Truncated |= room < bytes.Length;
        byte[] joined = [.. _tail, .. bytes[Math.Max(0, bytes.Length - TailBytes)..]];
        _tail = joined[Math.Max(0, joined.Length - TailBytes)..];
    }

    public async Task DrainAsync(Stream stream, CancellationToken cancellationToken)
    {
        var buffer = new byte[16384];
        int count;
        while ((count = await stream.ReadAsync(buffer, cancellationToken).AsTask().WaitAsync(cancellationToken)) > 0)
            Append(buffer.AsSpan(0, count));
    }
}
