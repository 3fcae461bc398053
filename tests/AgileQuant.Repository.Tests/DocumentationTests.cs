using System.Text.RegularExpressions;
using Shouldly;
using Xunit;

namespace AgileQuant.Repository.Tests;

/// <summary>The documentation names code; these tests fail when what it names is gone.</summary>
public sealed partial class DocumentationTests
{
    private static readonly string[] Folders = [".ci", "agent", "dashboard", "docs", "engine", "infra", "orchestrator", "tests"];

    private static readonly string[] NamesCode = ["docs/architecture.md", "docs/measurement.md", "docs/security.md", "docs/glossary.md"];

    private static IEnumerable<string> Pages => Repo.FilesWith(".md").Where(f => f == "README.md"
        || f.StartsWith("docs/", StringComparison.Ordinal) || f.StartsWith("infra/boards/", StringComparison.Ordinal));

    [Fact]
    public void Every_path_in_backticks_exists() =>
        Pages.SelectMany(page => PathsIn(Repo.Read(page)).Where(p => !Exists(p)).Select(p => $"{page}: `{p}`")).ShouldBeEmpty();

    [Fact]
    public void Every_relative_link_leads_somewhere() =>
        Pages.SelectMany(page => Link().Matches(Repo.Read(page)).Select(m => m.Groups["to"].Value)
            .Where(target => target.Length > 0 && !target.Contains(':'))
            .Where(target => !Path.Exists(Path.Combine(Path.GetDirectoryName(Repo.PathOf(page))!, target)))
            .Select(target => $"{page}: {target}")).ShouldBeEmpty();

    [Fact]
    public void The_pages_that_explain_the_product_name_the_code_that_does_it() =>
        NamesCode.Where(page => PathsIn(Repo.Read(page)).Distinct().Count() < 5).ShouldBeEmpty();

    [Fact]
    public void The_readme_begins_with_the_two_commands()
    {
        var readme = Repo.Read("README.md");
        var demo = readme.IndexOf("./bench demo", StringComparison.Ordinal);
        var test = readme.IndexOf("./bench test", StringComparison.Ordinal);
        demo.ShouldBeInRange(0, 600);
        test.ShouldBeInRange(demo, 800);
    }

    [Theory]
    [InlineData("see `agent/A.cs` and `./bench up`", "agent/A.cs")]
    [InlineData("`engine/native/src`:", "engine/native/src")]
    [InlineData("`~/.agilequant/store/<sha256>` and `/var/lib/x` and `a/b`", null)]
    [InlineData("    agent/not-in-backticks", null)]
    public void Paths_of_ours_are_told_from_other_words(string text, string? path) =>
        PathsIn(text).ShouldBe(path is null ? [] : [path]);

    private static IEnumerable<string> PathsIn(string markdown) => Code().Matches(Fenced().Replace(markdown, ""))
        .Select(m => m.Groups["path"].Value.Trim())
        .Where(code => code.Contains('/') && !code.Contains(' ') && !code.Contains('<') && !code.Contains('*'))
        .Where(code => Folders.Contains(code.Split('/')[0], StringComparer.Ordinal))
        .Select(code => code.TrimEnd('/'));

    /// <summary>A file of the repository or a folder that holds one.</summary>
    private static bool Exists(string path) =>
        Repo.Files.Any(f => f == path || f.StartsWith(path + "/", StringComparison.Ordinal));

    [GeneratedRegex("`(?<path>[^`\n]+)`", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Code();

    [GeneratedRegex("^```.*?^```", RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Fenced();

    [GeneratedRegex("\\]\\((?<to>[^)#\\s]*)(#[^)]*)?\\)", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Link();
}
