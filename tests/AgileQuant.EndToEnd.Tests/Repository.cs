namespace AgileQuant.EndToEnd.Tests;

/// <summary>Where the source tree and the shared test data are.</summary>
internal static class Repository
{
    /// <summary>The folder with the solution.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The read-only test data (<c>BENCH_SHARED/data</c>, else <c>../shared/data</c> beside the repository); null when absent.</summary>
    public static string? Data { get; } = FindData();

    private static string FindRoot()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "AgileQuant.Bench.sln")))
                return at.FullName;
        }

        throw new InvalidOperationException("the tests do not run inside the source tree");
    }

    private static string? FindData()
    {
        var shared = Environment.GetEnvironmentVariable("BENCH_SHARED") is { Length: > 0 } given
            ? given : Path.Combine(Path.GetDirectoryName(Root)!, "shared");
        var data = Path.Combine(shared, "data");
        return Directory.Exists(data) ? data : null;
    }
}
