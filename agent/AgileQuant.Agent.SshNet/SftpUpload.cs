using Renci.SshNet;
using Renci.SshNet.Sftp;

namespace AgileQuant.Agent.SshNet;

/// <summary>
/// Pipelined writes to one remote file, in the order of their positions, which an SFTP server keeps. A whole file goes by
/// SSH.NET's own upload, the cheapest way; that one cannot resume. SSH.NET's streams wait for each write's answer, so for the
/// rest of a file several of them are open on it and take turns.
/// </summary>
internal sealed class SftpUpload(SftpClient client, FileStream file, string remotePath, int inFlight)
{
    /// <summary>With its header a write fits one packet of 32 KiB, the largest an SSH server must take.</summary>
    private const int WriteBytes = 32_000;

    private sealed class Turn(SftpFileStream stream)
    {
        public SftpFileStream Stream { get; } = stream;

        public byte[] Buffer { get; } = new byte[WriteBytes];

        public Task Answer { get; set; } = Task.CompletedTask;

        /// <summary>Where the file ends once the answer is there.</summary>
        public long End { get; set; }
    }

    /// <summary>Bytes at the start of the remote file that the board has confirmed.</summary>
    public long Confirmed { get; private set; } = file.Position;

    /// <summary>Blocks its thread until all is confirmed. <paramref name="moved"/> is told the offset reached.</summary>
    public void Run(Action<long> moved, CancellationToken cancellationToken)
    {
        if (Confirmed == 0)
            SendAll(moved, cancellationToken);
        else
            SendRest(moved, cancellationToken);
        if (client.GetAttributes(remotePath).Size is var size && size != file.Length)
            throw new InvalidDataException($"{remotePath} has {size} bytes instead of {file.Length}");
        Confirmed = file.Length;
    }

    // A write that fails ends in SSH.NET's timeout, without the reason; nothing is confirmed before the end.
    private void SendAll(Action<long> moved, CancellationToken cancellationToken)
    {
        client.OpenAsync(remotePath, FileMode.Create, FileAccess.Write, cancellationToken).GetAwaiter().GetResult().Dispose();
        client.ChangePermissions(remotePath, 600);
        using var source = new Watched(file, moved, cancellationToken);
        client.UploadFile(source, remotePath, canOverride: true);
    }

    private void SendRest(Action<long> moved, CancellationToken cancellationToken)
    {
        var turns = Open(cancellationToken);
        for (var next = 0L; ; next++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var turn = turns[next % turns.Length];
            Confirm(turn, moved);
            var position = file.Position;
            var count = file.ReadAtLeast(turn.Buffer, WriteBytes, throwOnEndOfStream: false);
            if (count == 0)
                break;
            turn.Stream.Seek(position, SeekOrigin.Begin);
            turn.Stream.Write(turn.Buffer, 0, count); // less than the stream's own buffer: sent by the flush
            turn.End = position + count;
            turn.Answer = turn.Stream.FlushAsync(CancellationToken.None);
        }

        foreach (var turn in turns.OrderBy(t => t.End))
            Confirm(turn, moved);
    }

    private Turn[] Open(CancellationToken cancellationToken)
    {
        var writes = (file.Length - Confirmed + WriteBytes - 1) / WriteBytes;
        var streams = Enumerable.Range(0, (int)Math.Clamp(writes, 1, inFlight))
            .Select(_ => client.OpenAsync(remotePath, FileMode.Open, FileAccess.Write, cancellationToken)).ToArray();
        return [.. Task.WhenAll(streams).GetAwaiter().GetResult().Select(s => new Turn(s))];
    }

    private void Confirm(Turn turn, Action<long> moved)
    {
        turn.Answer.GetAwaiter().GetResult();
        if (turn.End <= Confirmed)
            return;
        Confirmed = turn.End;
        moved(Confirmed);
    }

    /// <summary>The file as SSH.NET reads it: tells how far it is, and ends the upload when that is wanted.</summary>
    private sealed class Watched(FileStream file, Action<long> moved, CancellationToken cancellationToken) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => file.Length;

        public override long Position { get => file.Position; set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count)
        {
            cancellationToken.ThrowIfCancellationRequested();
            moved(file.Position); // what was read before has been sent
            return file.ReadAtLeast(buffer.AsSpan(offset, count), count, throwOnEndOfStream: false);
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
