using System.CommandLine;

namespace AgileQuant.Host.Cli;

/// <summary>demo.</summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        var command = BenchCommand.Make("demo", "Benchmarks this machine as a board over SSH, prints and saves the comparison.", "bench demo");
        command.Handle((_, io, _) =>
        {
            io.Note("error: the demo is not assembled yet");
            return Task.FromResult(1);
        });
        return command;
    }
}
