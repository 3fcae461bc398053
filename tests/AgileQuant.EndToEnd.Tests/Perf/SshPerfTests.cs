using AgileQuant.Host.Cli;
using AgileQuant.Host.Client;
using AgileQuant.Host.Node;
using AgileQuant.Host.Perf;
using AgileQuant.Infra.Boards;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Perf;

public sealed class SshPerfTests
{
    [Fact]
    public async Task Compares_every_transport_that_is_built_in_with_scp()
    {
        Assert.SkipUnless(LocalSshd.IsAvailable(out var reason), reason ?? "");
        var report = await SshPerf.RunAsync(3 << 20, rounds: 2, _ => { }, TestContext.Current.CancellationToken);
        report.Bytes.ShouldBe(3 << 20);
        report.Transports.Select(t => t.Name).ShouldBe([.. Transports.BuiltIn.Select(t => t.Name), "scp"]);
        foreach (var transport in report.Transports)
        {
            transport.Rates.Count.ShouldBe(2);
            transport.Lowest.ShouldBeGreaterThan(0);
            transport.Median.ShouldBeInRange(transport.Lowest, transport.Highest);
        }

        report.Transports[^1].RatioToScp.ShouldBe(1);
    }

    [Theory]
    [InlineData("65536", 65536)]
    [InlineData("64KiB", 65536)]
    [InlineData("500MiB", 500L << 20)]
    [InlineData("2gib", 2L << 30)]
    public void Sizes_are_written_with_units_or_without(string text, long bytes) => PerfCommands.ParseSize(text).ShouldBe(bytes);

    [Theory]
    [InlineData("")]
    [InlineData("MiB")]
    [InlineData("500 MB")]
    [InlineData("-1MiB")]
    [InlineData("1KiB")]
    [InlineData("99999999999GiB")]
    public void What_is_no_size_says_what_one_looks_like(string text) =>
        Should.Throw<BenchException>(() => PerfCommands.ParseSize(text)).Message.ShouldContain("500MiB");
}
