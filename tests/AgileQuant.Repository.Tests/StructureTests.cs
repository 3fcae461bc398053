using System.Text.RegularExpressions;
using System.Xml.Linq;
using Shouldly;
using Xunit;

namespace AgileQuant.Repository.Tests;

/// <summary>Which project may know which, and where things stand.</summary>
public sealed class StructureTests
{
    /// <summary>Host, then dashboard, then orchestrator, then agent and engine; those two know nothing of ours.</summary>
    private static readonly Dictionary<string, string[]> MayReference = new(StringComparer.Ordinal)
    {
        ["AgileQuant.Engine"] = [],
        ["AgileQuant.Agent"] = [],
        ["AgileQuant.Agent.SshNet"] = ["AgileQuant.Agent"],
        ["AgileQuant.Infra"] = [],
        ["AgileQuant.Orchestrator"] = ["AgileQuant.Agent", "AgileQuant.Engine"],
        ["AgileQuant.Orchestrator.Orleans"] = ["AgileQuant.Orchestrator"],
        ["AgileQuant.Dashboard"] = ["AgileQuant.Orchestrator"],
        ["AgileQuant.Host"] = [
            "AgileQuant.Dashboard", "AgileQuant.Orchestrator", "AgileQuant.Orchestrator.Orleans", "AgileQuant.Infra", "AgileQuant.Agent", "AgileQuant.Agent.SshNet",
            "AgileQuant.Engine"],
    };

    private static IEnumerable<string> Projects => Repo.FilesWith(".csproj");

    [Fact]
    public void References_point_one_way()
    {
        var wrong = new List<string>();
        foreach (var project in Projects.Where(p => !p.StartsWith("tests/", StringComparison.Ordinal)))
        {
            var name = Path.GetFileNameWithoutExtension(project);
            if (!MayReference.TryGetValue(name, out var allowed))
            {
                wrong.Add($"{name}: say in {nameof(StructureTests)} what it may reference");
                continue;
            }

            wrong.AddRange(References(project).Where(r => !allowed.Contains(r)).Select(r => $"{name} -> {r}"));
        }

        wrong.ShouldBeEmpty();
    }

    [Fact]
    public void Nothing_references_a_test_project() =>
        Projects.SelectMany(References).Where(r => r.EndsWith(".Tests", StringComparison.Ordinal)).ShouldBeEmpty();

    [Fact]
    public void The_solution_lists_every_project_once()
    {
        var solution = Regex.Matches(Repo.Read("AgileQuant.Bench.sln"), "\"(?<project>[^\"]+\\.csproj)\"", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)
            .Select(m => m.Groups["project"].Value.Replace('\\', '/')).Order(StringComparer.Ordinal);
        solution.ShouldBe(Projects.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_package_has_one_version_in_one_place()
    {
        var central = XDocument.Load(Repo.PathOf("Directory.Packages.props")).Descendants("PackageVersion")
            .Select(e => (string?)e.Attribute("Include")).ToList();
        central.GroupBy(p => p, StringComparer.OrdinalIgnoreCase).Where(g => g.Count() > 1).Select(g => g.Key).ShouldBeEmpty();

        var elsewhere = Projects.Append("Directory.Build.props")
            .SelectMany(p => XDocument.Load(Repo.PathOf(p)).Descendants("PackageReference")
                .Where(e => e.Attribute("Version") is not null || e.Attribute("VersionOverride") is not null)
                .Select(e => $"{p}: {(string?)e.Attribute("Include")}"));
        elsewhere.ShouldBeEmpty();
    }

    [Fact]
    public void The_top_level_holds_what_the_layout_names_and_nothing_else()
    {
        string[] layout =
        [
            ".ci", ".editorconfig", ".gitattributes", ".gitignore", "AgileQuant.Bench.sln", "Directory.Build.props",
            "Directory.Build.targets", "Directory.Packages.props", "LICENSE", "README.md", "agent", "bench", "dashboard",
            "docs", "engine", "infra", "orchestrator", "tests",
        ];
        Repo.Files.Select(f => f.Split('/')[0]).Distinct(StringComparer.Ordinal).Except(layout).ShouldBeEmpty();
        layout.Where(entry => !Path.Exists(Repo.PathOf(entry))).ShouldBeEmpty();
    }

    private static IEnumerable<string> References(string project) =>
        XDocument.Load(Repo.PathOf(project)).Descendants("ProjectReference")
            .Select(e => Path.GetFileNameWithoutExtension(((string)e.Attribute("Include")!).Replace('\\', '/')));
}
