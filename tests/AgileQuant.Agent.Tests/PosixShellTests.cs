using System.Diagnostics;
using AgileQuant.Agent.Tests.Support;

namespace AgileQuant.Agent.Tests;

public sealed class PosixShellTests
{
    [Theory]
    [InlineData("sh")]
    [InlineData("dash")]
    [InlineData("bash")]
    [InlineData("busybox sh")]
    [InlineData("zsh")]
    [InlineData("fish")]
    [InlineData("tcsh")]
    public async Task A_wrapped_command_reaches_its_program_unchanged_by_any_login_shell(string loginShell)
    {
        var shell = loginShell.Split(' ');
        Assert.SkipUnless(IsInstalled(shell[0]), $"{shell[0]} is not installed");
        for (var seed = 0; seed < 8; seed++)
        {
            string[] arguments = [.. ShellText.Awkward, .. ShellText.Random(seed, 100)];
            var line = PosixShell.WrapForLoginShell(PosixShell.Join(["printf", "%s\\0", .. arguments]));
            var output = await RunAsync(shell[0], [.. shell[1..], "-c", line]);
            output.Split('\0')[..^1].ShouldBe(arguments, $"seed {seed}");
        }
    }

    [Fact]
    public void The_outer_text_has_nothing_that_shells_disagree_about()
    {
        var line = PosixShell.WrapForLoginShell(PosixShell.Join(["x", .. ShellText.Awkward]));
        line.ShouldStartWith("exec sh -c '");
        line.ShouldEndWith("'");
        var payload = line["exec sh -c '".Length..^1];
        payload.ShouldNotContain("'");
        payload.ShouldNotContain("!");
        payload.ShouldNotContain("\n");
        payload.ShouldNotContain("\\\\");
        payload.ShouldAllBe(c => c >= ' ' && c < 127);
    }

    [Fact]
    public void A_program_name_with_an_equals_sign_is_no_assignment() =>
        PosixShell.Join(["a=b", "c=d"]).ShouldBe("'a=b' c=d");

    [Fact]
    public void What_cannot_be_an_argument_is_refused()
    {
        Should.Throw<ArgumentException>(() => PosixShell.Quote("a\0b"));
        Should.Throw<ArgumentException>(() => PosixShell.Join([]));
        Should.Throw<ArgumentException>(() => PosixShell.Join([""]));
        Should.Throw<ArgumentException>(() => PosixShell.WrapForLoginShell(new string('x', 200_000)))
            .Message.ShouldContain("standard input");
    }

    private static bool IsInstalled(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(f => File.Exists(Path.Combine(f, program)));

    private static async Task<string> RunAsync(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, UseShellExecute = false };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return output;
    }
}
