using System.CommandLine;
using AgileQuant.Host.Demo;

namespace AgileQuant.Host.Cli;

/// <summary>demo.</summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        var command = BenchCommand.Make("demo",
            "Benchmarks this machine as a board over SSH (and an emulated Arm board, numerics only, where qemu-user is installed), prints the "
            + "comparison, and saves it. A second call reuses what is there.", "bench demo --again");
        var again = new Option<bool>("--again") { Description = "Measure again although there are results." };
        command.Add(again);
        command.Handle((parse, io, ct) => DemoRunner.RunAsync(io, parse.GetValue(again), ct));
        return command;
    }
}
