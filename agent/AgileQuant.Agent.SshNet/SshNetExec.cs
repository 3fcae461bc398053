using Renci.SshNet;
using Renci.SshNet.Common;

namespace AgileQuant.Agent.SshNet;

/// <summary>
/// One command over a connection. Its streams are looked at, not waited for: SSH.NET's reads block a thread each, and a
/// journal is followed for hours on every board.
/// </summary>
internal static class SshNetExec
{
    /// <summary>SSH.NET takes in what the board sends however slowly we read; more than this held back is an error.</summary>
    private const long MaxHeld = 64 << 20;

    private static readonly TimeSpan FirstLook = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LastLook = TimeSpan.FromMilliseconds(100);
    private const int SignalGraceMilliseconds = 300;

    private static readonly string[] Signals =
        ["HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM"];

    /// <summary>Command line for the board: SSH.NET cannot end a standard input that nothing was written to.</summary>
    public static string Line(IReadOnlyList<string> command, bool hasInput) =>
        PosixShell.WrapForLoginShell($"{PosixShell.Join(command)}{(hasInput ? "" : " < /dev/null")}; exit $?");

    /// <summary>Moves all streams until the command ends, and returns its exit code. Ends it when the bound is reached.</summary>
    /// <param name="feed">Writes the standard input, on a thread of its own; null: none.</param>
    /// <param name="ended">Called once, when the command's channel is free again.</param>
    public static async Task<int> RunAsync(
        SshNetConnection connection,
        string line,
        BoundedCapture stderr,
        Bound bound,
        Action<Stream, CancellationToken>? feed,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout,
        Action ended)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(bound.Token, connection.Lost);
        var command = connection.Command(line);
        var starting = OwnThread.RunAsync(() => Start(command, feed, stop.Token));
        var over = false;
        try
        {
            var running = await starting.WaitAsync(stop.Token);
            await PassOnAsync(connection, command, running, stderr, onStdout, stop.Token);
            await running;
            over = true;
            return ExitCode(connection, command);
        }
        catch (OperationCanceledException)
        {
            if (connection.Lost.IsCancellationRequested)
                throw connection.LostBecause();
            bound.ThrowIfElapsed();
            throw;
        }
        catch (Exception e) when (e is SshConnectionException or ObjectDisposedException or System.Net.Sockets.SocketException)
        {
            connection.Lose(e.Message.TrimEnd('.'));
            throw connection.LostBecause(e);
        }
        catch (SshException e)
        {
            throw new ConnectionLostException(connection.Address, e.Message.TrimEnd('.'), e);
        }
        finally
        {
            await stop.CancelAsync();
            End(command, starting, over, ended);
        }
    }

    private static Task Start(SshCommand command, Action<Stream, CancellationToken>? feed, CancellationToken cancellationToken)
    {
        var running = command.ExecuteAsync(CancellationToken.None);
        if (feed is not null && Input(command) is { } stdin)
        {
            OwnThread.Forget(() =>
            {
                // If the command ends without reading all of it, its exit code says whether that is an error.
                feed(stdin, cancellationToken);
                stdin.Dispose();
            });
        }

        return running;
    }

    private static Stream? Input(SshCommand command)
    {
        try
        {
            return command.CreateInputStream();
        }
        catch (InvalidOperationException)
        {
            return null; // it has ended already
        }
    }

    private static async Task PassOnAsync(
        SshNetConnection connection,
        SshCommand command,
        Task running,
        BoundedCapture stderr,
        Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> onStdout,
        CancellationToken cancellationToken)
    {
        var wait = FirstLook;
        while (true)
        {
            var over = running.IsCompleted; // asked first: what came before the end is then in the streams
            if (command.OutputStream.Length > MaxHeld)
                throw new RemoteShellException($"A command on {connection.Address} prints faster than its output is taken: {MaxHeld >> 20} MiB wait.");
            var errors = SshNetConnection.Waiting(command.ExtendedOutputStream);
            var output = SshNetConnection.Waiting(command.OutputStream);
            cancellationToken.ThrowIfCancellationRequested();
            stderr.Append(errors);
            if (output.Length > 0)
                await onStdout(output, cancellationToken);
            if (output.Length + errors.Length > 0)
            {
                connection.Heard();
                wait = FirstLook;
            }
            else if (over)
            {
                return;
            }
            else
            {
                await Task.WhenAny(running, Task.Delay(wait, cancellationToken));
                wait = wait * 2 < LastLook ? wait * 2 : LastLook;
            }
        }
    }

    private static int ExitCode(SshNetConnection connection, SshCommand command)
    {
        if (command.ExitStatus is { } code)
            return code;
        // As a shell counts it.
        if (command.ExitSignal is { } signal && Array.IndexOf(Signals, signal) is var number and >= 0)
            return 128 + number + 1;
        throw new ConnectionLostException(connection.Address, "the command's session ended without an exit code");
    }

    private static void End(SshCommand command, Task<Task> starting, bool over, Action ended) =>
        OwnThread.Forget(() =>
        {
            try
            {
                if (!over)
                {
                    // One that is still starting cannot be stopped before it has.
                    ((IAsyncResult)starting).AsyncWaitHandle.WaitOne();
                    if (starting.IsCompletedSuccessfully)
                        command.CancelAsync(forceKill: false, SignalGraceMilliseconds);
                }

                command.Dispose();
            }
            finally
            {
                ended();
            }
        });
}
