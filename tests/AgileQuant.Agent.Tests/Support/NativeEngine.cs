using System.Diagnostics;

namespace AgileQuant.Agent.Tests.Support;

/// <summary>Finds or builds <c>aqengine</c>: the environment variable AQENGINE (linux-x64) or AQENGINE_ARM64, an earlier build,
/// or <c>engine/native/build.sh</c>.</summary>
public static class NativeEngine
{
    private static readonly Lock Building = new();

    /// <summary>The binary, or the reason why there is none.</summary>
    public static (string? Path, string Reason) Find(string target)
    {
        var variable = target == "linux-arm64" ? "AQENGINE_ARM64" : "AQENGINE";
        if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } given)
            return File.Exists(given) ? (given, "") : (null, $"{variable} names {given}, which is not there");
        if (NativeFolder() is not { } native)
            return (null, "engine/native is not above the test binary");
        lock (Building)
            return Build(native, target);
    }

    private static (string? Path, string Reason) Build(string native, string target)
    {
        var binary = Path.Combine(native, "build", target, "aqengine");
        if (File.Exists(binary))
            return (binary, "");
        var start = new ProcessStartInfo("sh", [Path.Combine(native, "build.sh"), "--target", target])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 && File.Exists(binary)
            ? (binary, "")
            : (null, $"build.sh --target {target} failed: {errors.Trim().Split('\n')[^1]}{output.Result[..0]}");
    }

    private static string? NativeFolder()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var native = Path.Combine(folder.FullName, "engine", "native");
            if (File.Exists(Path.Combine(native, "build.sh")))
                return native;
        }

        return null;
    }
}
