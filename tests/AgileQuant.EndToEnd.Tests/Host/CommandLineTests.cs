using System.CommandLine;
using AgileQuant.Host;
using AgileQuant.Host.Cli;
using Shouldly;
using Xunit;

namespace AgileQuant.EndToEnd.Tests.Host;

public class CommandLineTests
{
    [Fact]
    public void Every_command_has_a_description_and_every_leaf_an_example_in_its_help()
    {
        foreach (var (path, command) in Leaves(BenchCommand.Create(), []))
        {
            command.Description.ShouldNotBeNullOrWhiteSpace();
            var output = new StringWriter();
            string[] arguments = [.. path, "--help"];
            BenchCommand.Create().Parse(arguments).Invoke(new InvocationConfiguration { Output = output }).ShouldBe(0);
            output.ToString().ShouldContain($"Example:\n  ");
            output.ToString().ShouldContain($"bench {string.Join(' ', path)}");
            foreach (var option in command.Options)
                option.Description.ShouldNotBeNullOrWhiteSpace($"{string.Join(' ', path)} {option.Name}");
        }
    }

    [Theory]
    [InlineData("device add")]
    [InlineData("device add pi@host")]
    [InlineData("matrix run")]
    [InlineData("report m --format pdf")]
    [InlineData("up --port 0")]
    [InlineData("engine build --target windows")]
    [InlineData("nonsense")]
    public async Task Wrong_usage_ends_with_2_and_touches_no_node(string line)
    {
        (await BenchCommand.RunAsync(line.Split(' '))).ShouldBe(2);
    }

    [Theory]
    [InlineData("/data/bench/", null, null, false, "/data/bench")]
    [InlineData(null, "/xdg", "/people/ann", false, "/xdg/agilequant-bench")]
    [InlineData(null, "relative", "/people/ann", false, "/people/ann/.local/share/agilequant-bench")]
    [InlineData(null, null, "/people/ann", false, "/people/ann/.local/share/agilequant-bench")]
    [InlineData(null, null, "/root", true, "/var/lib/agilequant-bench")]
    public void The_home_folder_follows_the_environment(string? given, string? xdg, string? home, bool root, string expected)
    {
        var environment = new Dictionary<string, string?> { ["BENCH_HOME"] = given, ["XDG_DATA_HOME"] = xdg, ["HOME"] = home };

        BenchHome.Resolve(name => environment[name], root).Folder.ShouldBe(expected);
    }

    private static IEnumerable<(string[] Path, Command Command)> Leaves(Command command, string[] path) =>
        command.Subcommands.Count == 0 ? [(path, command)] : command.Subcommands.SelectMany(c => Leaves(c, [.. path, c.Name]));
}
