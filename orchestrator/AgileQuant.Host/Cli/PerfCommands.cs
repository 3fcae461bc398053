using System.CommandLine;
using System.Globalization;
using AgileQuant.Host.Client;
using AgileQuant.Host.Perf;
using Spectre.Console;

namespace AgileQuant.Host.Cli;

/// <summary>perf engine, perf ssh: measurements of the product itself.</summary>
internal static class PerfCommands
{
    private const long LeastBytes = 1 << 16;
    private const long MostBytes = 64L << 30;
    private const int MostRounds = 100;

    public static Command Create() => new("perf", "Measures parts of this program on this machine.") { PerfEngineCommand.Create(), Ssh() };

    private static Command Ssh()
    {
        var command = BenchCommand.Make("ssh",
            "Sends one file to a throwaway sshd on loopback with every transport that is built in and with scp, in turn, checks its "
            + "SHA-256 over there, and compares the rates. Connecting is part of each time.",
            "bench perf ssh --size 500MiB --rounds 5");
        var size = new Option<string>("--size") { Description = "Size of the file: bytes, or a number with KiB, MiB or GiB.", DefaultValueFactory = _ => "500MiB" };
        var rounds = new Option<int>("--rounds") { Description = "How often each sends it (1 to 100); one more round before is not counted.", DefaultValueFactory = _ => 5 };
        command.Add(size);
        command.Add(rounds);
        command.Handle(async (parse, io, ct) =>
        {
            var bytes = ParseSize(parse.GetValue(size)!);
            var count = parse.GetValue(rounds);
            if (count is < 1 or > MostRounds)
                throw new BenchException($"--rounds must be from 1 to {MostRounds}");
            var report = await SshPerf.RunAsync(bytes, count, io.Note, ct);
            io.Result(report, r => Draw(io, r));
            return 0;
        });
        return command;
    }

    /// <summary>Bytes of a size as people write it.</summary>
    /// <exception cref="BenchException">It is no size, or out of bounds.</exception>
    internal static long ParseSize(string text)
    {
        (string Unit, int Shift)[] units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
        var (unit, shift) = units.First(u => text.EndsWith(u.Unit, StringComparison.OrdinalIgnoreCase));
        return long.TryParse(text.AsSpan(0, text.Length - unit.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
               && number <= MostBytes >> shift && number << shift >= LeastBytes
            ? number << shift
            : throw new BenchException($"'{text}' is no size from 64KiB to 64GiB; write for example 500MiB");
    }

    private static void Draw(CliIo io, SshPerfReport report)
    {
        io.Say($"{report.Bytes / 1048576.0:0.##} MiB, {report.Rounds} rounds, each transport once a round; SHA-256 checked {report.Rounds * report.Transports.Count} times");
        var table = Tables.New("Transport", "MiB/s (median)", "Lowest to highest", "Ratio to scp (median of rounds)");
        foreach (var t in report.Transports)
            table.AddRow(Tables.Cells(t.Name, $"{t.Median:0.0}", $"{t.Lowest:0.0} to {t.Highest:0.0}", t.RatioToScp is { } ratio ? $"{ratio:0.00}" : "–"));
        io.Out.Write(table);
    }
}
