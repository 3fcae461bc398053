using System.Security.Cryptography;

namespace AgileQuant.Agent.Tests.Support;

public static class TestFiles
{
    /// <summary>Writes reproducible random bytes and returns the path.</summary>
    public static string Random(string path, int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public static string Hash(string path)
    {
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }
}
