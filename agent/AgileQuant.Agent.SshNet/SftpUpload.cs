using Renci.SshNet;
using Renci.SshNet.Sftp;

namespace AgileQuant.Agent.SshNet;

/// <summary>
/// Pipelined writes to one remote file. SSH.NET's streams wait for each write's answer, so several streams are open on the
/// file and take turns; the requests leave in the order of their positions, and an SFTP server carries them out in that order.
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
        if (client.GetAttributes(remotePath).Size is var size && size != file.Length)
            throw new InvalidDataException($"{remotePath} has {size} bytes instead of {file.Length}");
    }

    private Turn[] Open(CancellationToken cancellationToken)
    {
        var first = client.OpenAsync(
            remotePath, Confirmed == 0 ? FileMode.Create : FileMode.Open, FileAccess.Write, cancellationToken).GetAwaiter().GetResult();
        if (Confirmed == 0)
            client.ChangePermissions(remotePath, 600);
        var writes = (file.Length - Confirmed + WriteBytes - 1) / WriteBytes;
        var others = Enumerable.Range(1, (int)Math.Clamp(writes, 1, inFlight) - 1)
            .Select(_ => client.OpenAsync(remotePath, FileMode.Open, FileAccess.Write, cancellationToken)).ToArray();
        return [new Turn(first), .. Task.WhenAll(others).GetAwaiter().GetResult().Select(s => new Turn(s))];
    }

    private void Confirm(Turn turn, Action<long> moved)
    {
        turn.Answer.GetAwaiter().GetResult();
        if (turn.End <= Confirmed)
            return;
        Confirmed = turn.End;
        moved(Confirmed);
    }
}
