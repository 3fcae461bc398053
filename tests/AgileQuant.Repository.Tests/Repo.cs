using System.Diagnostics;

namespace AgileQuant.Repository.Tests;

/// <summary>The checkout these tests look at, and the programs they run on it.</summary>
internal static class Repo
{
    private static readonly Lazy<IReadOnlyList<string>> Tracked = new(ListFiles);

    public static string Root { get; } = FindRoot();

    /// <summary>Files that are, or are about to be, in the repository; relative, with forward slashes.</summary>
    public static IReadOnlyList<string> Files => Tracked.Value;

    public static IEnumerable<string> FilesWith(params string[] extensions) =>
        Files.Where(f => extensions.Contains(Path.GetExtension(f), StringComparer.Ordinal));

    public static string Read(string file) => File.ReadAllText(PathOf(file));

    public static string PathOf(string file) => Path.Combine(Root, file);

    public static bool HasProgram(string name) => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(':').Any(folder => folder.Length > 0 && File.Exists(Path.Combine(folder, name)));

    /// <summary>Runs a program in the root of the checkout, for at most two minutes.</summary>
    public static async Task<(int ExitCode, string Output)> RunAsync(params string[] command)
    {
        var start = new ProcessStartInfo(command[0])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = Root,
        };
        foreach (var argument in command.Skip(1))
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        using var bound = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        var output = process.StandardOutput.ReadToEndAsync(bound.Token);
        var error = process.StandardError.ReadToEndAsync(bound.Token);
        try
        {
            await process.WaitForExitAsync(bound.Token);
            return (process.ExitCode, await output + await error);
        }
        catch (OperationCanceledException e)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{command[0]} did not end within two minutes", e);
        }
    }

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "AgileQuant.Bench.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("these tests must run inside a checkout: no AgileQuant.Bench.sln above them");
    }

    /// <summary>From git; without git or a work tree (an unpacked archive) from the folders.</summary>
    private static List<string> ListFiles()
    {
        if (HasProgram("git") && Path.Exists(Path.Combine(Root, ".git")))
        {
            // Containers often own the checkout as another user than they run as.
            var (code, output) = RunAsync(
                "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
                .GetAwaiter().GetResult();
            if (code == 0)
            {
                return [.. output.Split('\0', StringSplitOptions.RemoveEmptyEntries).Where(f => File.Exists(PathOf(f))).Order(StringComparer.Ordinal)];
            }
        }

        string[] generated = ["bin", "obj", "build", "TestResults", ".bench", ".git", ".vs"];
        return [.. Directory.EnumerateFiles(Root, "*", SearchOption.AllDirectories)
            .Select(f => Path.GetRelativePath(Root, f))
            .Where(f => f != "Optional.props" && !f.Split('/').Any(part => generated.Contains(part)))
            .Order(StringComparer.Ordinal)];
    }
}
