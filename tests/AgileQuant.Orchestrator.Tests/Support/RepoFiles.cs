using System.Diagnostics;

namespace AgileQuant.Orchestrator.Tests.Support;

/// <summary>Files of the checkout that tests use.</summary>
internal static class RepoFiles
{
    /// <summary>The folder with AgileQuant.Bench.sln.</summary>
    public static string Root { get; } = FindRoot();

    public static string SampleModel => Path.Combine(Root, "infra", "samples", "docs-llama");

    /// <summary>The engine for this machine, built when it is missing; null with a reason when it cannot be built.</summary>
    public static string? Engine(out string? reason)
    {
        reason = null;
        var path = Path.Combine(Root, "engine", "native", "build", "linux-x64", "aqengine");
        if (File.Exists(path))
            return path;
        var start = new ProcessStartInfo(Path.Combine(Root, "engine", "native", "build.sh"))
        {
            ArgumentList = { "--target", "linux-x64" },
            UseShellExecute = false,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode == 0 && File.Exists(path))
            return path;
        reason = "the engine cannot be built here: " + error.Result;
        return null;
    }

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "AgileQuant.Bench.sln")))
                return folder.FullName;
        }

        throw new InvalidOperationException("the tests do not run inside of a checkout");
    }
}
