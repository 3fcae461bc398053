using System.Reflection;

namespace AgileQuant.Host;

/// <summary>What this program is called and which version it is.</summary>
public static class Product
{
    public const string Name = "AgileQuant.Bench";

    /// <summary>For instance 0.1.0, with a build suffix where the build gave one.</summary>
    public static string Version { get; } =
        typeof(Product).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0.0.0";
}
