using System.ComponentModel;
using System.Diagnostics;

namespace AgileQuant.Agent.OpenSsh;

/// <summary>One ssh client process with redirected streams. Disposing kills it if it still runs.</summary>
internal sealed class SshProcess : IDisposable
{
    private readonly Process _process;

    private SshProcess(Process process) => _process = process;

    public Stream Stdin => _process.StandardInput.BaseStream;

    public Stream Stdout => _process.StandardOutput.BaseStream;

    public Stream Stderr => _process.StandardError.BaseStream;

    public bool HasExited => _process.HasExited;

    public int ExitCode => _process.ExitCode;

    public static SshProcess Start(string program, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        // Error texts are read by us; an askpass window must never appear.
        start.Environment["LC_ALL"] = "C";
        start.Environment.Remove("SSH_ASKPASS");
        start.Environment.Remove("DISPLAY");
        try
        {
            return new SshProcess(Process.Start(start) ?? throw new InvalidOperationException("The ssh client did not start."));
        }
        catch (Win32Exception e)
        {
            throw new RemoteShellException(
                $"The ssh client '{program}' cannot be started ({e.Message}). Install it, for example: apt-get install openssh-client.", e);
        }
    }

    public Task WaitForExitAsync(CancellationToken cancellationToken) => _process.WaitForExitAsync(cancellationToken);

    public void CloseStdin()
    {
        try
        {
            Stdin.Close();
        }
        catch (IOException)
        {
            // The process ended before it read everything; its exit code says why.
        }
    }

    public void Kill()
    {
        try
        {
            _process.Kill();
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception)
        {
            // It has ended already.
        }
    }

    public void Dispose()
    {
        Kill();
        _process.Dispose();
    }
}
