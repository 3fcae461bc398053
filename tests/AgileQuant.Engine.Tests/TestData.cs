using System.Security.Cryptography;

namespace AgileQuant.Engine.Tests;

/// <summary>Finds the repository, the sample models in it, and the data beside it that only developers' machines have.</summary>
internal static class TestData
{
    public static string RepositoryRoot { get; } = FindUpwards(AppContext.BaseDirectory, "AgileQuant.Bench.sln")
        ?? throw new InvalidOperationException("the tests must run from a build inside the repository");

    public static string Samples => Path.Combine(RepositoryRoot, "infra", "samples");

    public static string DocsLlama => Path.Combine(Samples, "docs-llama");

    /// <summary>Path of a file in shared/data; skips the test when that folder is not there.</summary>
    public static string Shared(params string[] parts)
    {
        var root = Environment.GetEnvironmentVariable("BENCH_SHARED") ?? Path.Combine(RepositoryRoot, "..", "shared");
        var path = Path.Combine([root, "data", .. parts]);
        Assert.SkipUnless(File.Exists(path), $"shared test data is not on this machine: data/{string.Join('/', parts)}");
        return path;
    }

    public static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static string? FindUpwards(string folder, string file)
    {
        for (var at = new DirectoryInfo(folder); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, file)))
                return at.FullName;
        }

        return null;
    }
}

/// <summary>A folder that goes away with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder() => Directory.CreateDirectory(Path);

    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"agilequant-{Guid.NewGuid():N}");

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
