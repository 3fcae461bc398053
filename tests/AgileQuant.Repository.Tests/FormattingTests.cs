using System.Text;
using Shouldly;
using Xunit;

namespace AgileQuant.Repository.Tests;

/// <summary>What <c>.editorconfig</c> promises.</summary>
public sealed class FormattingTests
{
    private static readonly string[] Binary =
        [".safetensors", ".bin", ".gguf", ".png", ".i32", ".f32", ".woff2", ".ico", ".svgz", ".gz"];

    // Two blanks mean something in Markdown; in C# they can only be left in raw strings, dotnet format finds the others.
    private static readonly string[] MayEndLinesWithSpaces = [".md", ".cs"];

    /// <summary>Kept byte for byte: sample models, and files that are damaged on purpose.</summary>
    private static readonly string[] AsTheyAre = ["infra/samples/", "tests/fuzz/", "engine/native/fuzz/corpus/"];

    private static IEnumerable<string> TextFiles => Repo.Files.Where(f =>
        !AsTheyAre.Any(folder => f.StartsWith(folder, StringComparison.Ordinal)) && !Binary.Contains(Path.GetExtension(f)));

    [Fact]
    public void Text_files_are_utf8_with_unix_line_ends_and_a_final_newline()
    {
        var strict = new UTF8Encoding(false, throwOnInvalidBytes: true);
        var wrong = new List<string>();
        foreach (var file in TextFiles)
        {
            var bytes = File.ReadAllBytes(Repo.PathOf(file));
            if (bytes.Contains((byte)'\r'))
            {
                wrong.Add($"{file}: a carriage return");
            }

            if (bytes.Length > 0 && bytes[^1] != '\n')
            {
                wrong.Add($"{file}: no newline at the end");
            }

            if (bytes.AsSpan().EndsWith("\n\n"u8))
            {
                wrong.Add($"{file}: an empty line at the end");
            }

            if (Record.Exception(() => strict.GetString(bytes)) is not null)
            {
                wrong.Add($"{file}: not UTF-8");
            }
        }

        wrong.ShouldBeEmpty();
    }

    [Fact]
    public void No_line_ends_with_white_space_and_code_is_not_indented_with_tabs()
    {
        string[] spacesOnly = [".cs", ".c", ".h", ".sh", ".razor", ".sql", ".csproj", ".props"];
        var wrong = new List<string>();
        foreach (var file in TextFiles)
        {
            var mayEndWithSpaces = MayEndLinesWithSpaces.Contains(Path.GetExtension(file));
            var lines = Repo.Read(file).Split('\n');
            for (var i = 0; i < lines.Length; i++)
            {
                if (!mayEndWithSpaces && lines[i].Length > 0 && lines[i][^1] is ' ' or '\t')
                {
                    wrong.Add($"{file}:{i + 1}: white space at the end");
                }

                if (lines[i].StartsWith('\t') && spacesOnly.Contains(Path.GetExtension(file)))
                {
                    wrong.Add($"{file}:{i + 1}: a tab");
                }
            }
        }

        wrong.ShouldBeEmpty();
    }

    [Fact]
    public async Task CSharp_is_formatted_as_editorconfig_says()
    {
        var dotnet = Environment.ProcessPath is { } host && Path.GetFileName(host) == "dotnet" ? host : "dotnet";
        Assert.SkipUnless(dotnet != "dotnet" || Repo.HasProgram("dotnet"), "dotnet is not in PATH");
        var (code, output) = await Repo.RunAsync(
            dotnet, "format", "whitespace", ".", "--folder", "--verify-no-changes", "--exclude", "**/obj/**", "**/bin/**");
        code.ShouldBe(0, $"run `dotnet format whitespace` on:\n{output}");
    }

    [Fact]
    public async Task C_is_formatted_as_clang_format_says()
    {
        string[] sources = [.. Repo.FilesWith(".c", ".h").Where(f => f.StartsWith("engine/native/", StringComparison.Ordinal))];
        Assert.SkipUnless(Repo.HasProgram("clang-format"), "clang-format is not installed (./bench setup --tests)");
        Assert.SkipWhen(sources.Length == 0, "there is no C source yet");
        var (code, output) = await Repo.RunAsync(["clang-format", "--dry-run", "-Werror", .. sources]);
        code.ShouldBe(0, $"run `clang-format -i` on:\n{output}");
    }

    [Fact]
    public void Files_that_people_write_have_at_most_500_lines()
    {
        string[] written = [".cs", ".c", ".h", ".sh", ".razor"];
        var sizes = Repo.FilesWith(written).Select(f => (File: f, Lines: File.ReadLines(Repo.PathOf(f)).Count())).ToList();
        foreach (var (file, lines) in sizes.Where(s => s.Lines > 400))
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{lines} lines, more than the 400 we aim for: {file}");
        }

        sizes.Where(s => s.Lines > 500).Select(s => $"{s.File}: {s.Lines} lines").ShouldBeEmpty();
    }
}
