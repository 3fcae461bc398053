using System.Runtime.Versioning;
using Shouldly;
using Xunit;

namespace AgileQuant.Repository.Tests;

/// <summary>The shell scripts, and the report that the test runner counts with.</summary>
[SupportedOSPlatform("linux")]
public sealed class ScriptTests : IDisposable
{
    private const string Report = """
        <?xml version="1.0" encoding="utf-8"?><assemblies><assembly><errors><error type="class-cleanup" name="P.Fixture">
        <failure exception-type="E"><message><![CDATA[the fixture
        broke]]></message></failure></error></errors><collection>
        <test id="1" name="P.A.Good" result="Pass" time="1" />
        <test id="2" name="P.A.Bad(x: \&quot;&lt;q&gt;\&quot;)" result="Fail" time="1"><failure exception-type="E">
        <message><![CDATA[expected <1>]]></message><stack-trace><![CDATA[at System.Reflection.Invoke()
        at the line]]></stack-trace></failure></test>
        <test id="3" name="P.A.Left_out" result="Skip"><reason><![CDATA[no board here]]></reason></test>
        </collection></assembly></assemblies>
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("agilequant-scripts-").FullName;

    private static string[] Scripts => [.. Repo.FilesWith(".sh").Concat(["bench", ".ci/run"])];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static bool SaysNoShell(string script) =>
        File.ReadLines(Repo.PathOf(script)).First() is var line && !line.StartsWith("#!", StringComparison.Ordinal)
        && !line.StartsWith("# shellcheck shell=", StringComparison.Ordinal);

    [Fact]
    public async Task Shellcheck_has_no_warning()
    {
        Assert.SkipUnless(Repo.HasProgram("shellcheck"), "shellcheck is not installed (./bench setup --tests)");
        // SC1007 dislikes `a= b=`, which is how POSIX sh clears variables in one line.
        string[] check = ["shellcheck", "-x", "-S", "warning", "-e", "SC1007"];
        var scripts = Scripts.ToLookup(SaysNoShell);
        var (code, output) = await Repo.RunAsync([.. check, .. scripts[false]]);
        code.ShouldBe(0, output);
        if (scripts[true].Any()) // sent to a board's sh, never executed by name
        {
            (code, output) = await Repo.RunAsync([.. check, "-s", "sh", .. scripts[true]]);
            code.ShouldBe(0, output);
        }
    }

    [Fact]
    public void Scripts_stop_at_the_first_error_and_can_be_executed()
    {
        foreach (var script in Scripts)
        {
            var text = Repo.Read(script);
            if (!text.StartsWith("#!", StringComparison.Ordinal))
            {
                continue; // sourced by others
            }

            var posix = text.StartsWith("#!/bin/sh", StringComparison.Ordinal) || text.Contains("/sh\n");
            if (!text.Contains("\nset -u # no -e: ", StringComparison.Ordinal)) // a script of checks that says why it goes on
            {
                text.ShouldContain(posix ? "set -eu" : "set -euo pipefail", Case.Sensitive, script);
            }

            (File.GetUnixFileMode(Repo.PathOf(script)) & UnixFileMode.UserExecute).ShouldNotBe(UnixFileMode.None, script);
        }
    }

    [Theory]
    [InlineData("bench", "./bench demo")]
    [InlineData("bench setup --help", "Example: ./bench setup")]
    [InlineData("bench test --help", "Example: ./bench test")]
    public async Task Help_needs_nothing_built(string command, string expected)
    {
        var words = command.Split(' ');
        var (code, output) = await Repo.RunAsync([Repo.PathOf(words[0]), .. words.Skip(1)]);
        code.ShouldBe(0, output);
        output.ShouldContain(expected);
    }

    [Fact]
    public async Task An_unknown_option_is_refused()
    {
        (await Repo.RunAsync(Repo.PathOf("bench"), "test", "--lnog")).ExitCode.ShouldBe(2);
        (await Repo.RunAsync(Repo.PathOf("bench"), "setup", "--lnog")).ExitCode.ShouldBe(2);
    }

    [Fact]
    public async Task The_test_report_counts_failures_skips_and_broken_fixtures()
    {
        var (line, counts, failures, skips) = await ReportAsync(Report, exitCode: 1);
        counts.ShouldBe("P\t1\t2\t1\n");
        line.ShouldContain("1 passed    2 failed    1 skipped");
        failures.ShouldContain("A.Bad(x: \"<q>\")");
        failures.ShouldContain("expected <1>");
        failures.ShouldContain("at the line");
        failures.ShouldNotContain("System.Reflection");
        failures.ShouldContain("the fixture\n      broke");
        skips.ShouldContain("A.Left_out\n    no board here");
    }

    [Theory]
    [InlineData(134, "ended with exit code 134")]
    [InlineData(124, "ran out of time")]
    public async Task A_test_program_that_dies_counts_as_failed(int exitCode, string why)
    {
        var (_, counts, failures, _) = await ReportAsync("", exitCode);
        counts.ShouldBe("P\t0\t1\t0\n");
        failures.ShouldContain(why);
        failures.ShouldContain("its last words");
    }

    private async Task<(string Line, string Counts, string Failures, string Skips)> ReportAsync(string xml, int exitCode)
    {
        string At(string name) => Path.Combine(_folder, name);
        await File.WriteAllTextAsync(At("xml"), xml);
        await File.WriteAllTextAsync(At("log"), "its last words\n");
        await File.WriteAllTextAsync(At("skips"), "");
        await File.WriteAllTextAsync(At("failures"), "");
        var (code, output) = await Repo.RunAsync(
            "awk", "-v", "project=P", "-v", $"code={exitCode}", "-v", "seconds=1", "-v", $"log_file={At("log")}",
            "-v", $"counts={At("counts")}", "-v", $"failures={At("failures")}", "-v", $"skips={At("skips")}",
            "-f", Repo.PathOf("infra/scripts/test-report.awk"), At("xml"));
        code.ShouldBe(0, output);
        return (output, await File.ReadAllTextAsync(At("counts")), await File.ReadAllTextAsync(At("failures")),
            await File.ReadAllTextAsync(At("skips")));
    }
}
