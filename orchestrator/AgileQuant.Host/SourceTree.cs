using AgileQuant.Host.Client;

namespace AgileQuant.Host;

/// <summary>The source tree this program was built in: the sample models and the engine's sources lie there.</summary>
public static class SourceTree
{
    /// <summary><c>BENCH_ROOT</c>, else the folder above this program that holds the solution; null outside a source tree.</summary>
    public static string? Find()
    {
        if (Environment.GetEnvironmentVariable("BENCH_ROOT") is { Length: > 0 } given)
            return given;
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "AgileQuant.Bench.sln")))
                return at.FullName;
        }

        return null;
    }

    /// <exception cref="BenchException">This program does not run inside a source tree.</exception>
    public static string Require() => Find() ?? throw new BenchException(
        "this needs the source tree, and this program does not run inside one; set BENCH_ROOT to its folder");
}
