namespace AgileQuant.Cluster.Tests.Support;

/// <summary>Where the sources are.</summary>
internal static class Repository
{
    public static string Root { get; } = Environment.GetEnvironmentVariable("BENCH_ROOT") is { Length: > 0 } given ? given : Find();

    private static string Find()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "AgileQuant.Bench.sln")))
            folder = folder.Parent;
        return folder?.FullName ?? throw new DirectoryNotFoundException("AgileQuant.Bench.sln is not above the tests");
    }
}
