using System.Net;
using AgileQuant.Host.Client;
using AgileQuant.Orchestrator.Ownership;
#if WITH_ORLEANS
using AgileQuant.Orchestrator.Orleans;
using AgileQuant.Orchestrator.Orleans.Devices;
using AgileQuant.Orchestrator.Orleans.Silo;
#endif

namespace AgileQuant.Host.Node;

/// <summary>A way for nodes to share the boards that this program knows.</summary>
/// <param name="Key">What <c>--cluster</c> and <c>BENCH_CLUSTER</c> call it.</param>
/// <param name="Name">What people read.</param>
/// <param name="Add">Registers it, before the orchestrator; the address is where other nodes reach this one.</param>
internal sealed record Cluster(string Key, string Name, Action<IServiceCollection, IPAddress> Add);

/// <summary>The clusters that are built in, and the choice between them. All nodes of a database should make the same one.</summary>
internal static class Clusters
{
    public const string Variable = "BENCH_CLUSTER";
    private const string OrleansKey = "orleans";

    private static readonly Cluster Leases = new("leases", PostgresLeaseOwnership.ImplementationName, (_, _) => { }); // what the orchestrator takes by itself

    /// <summary>The default one first.</summary>
    public static IReadOnlyList<Cluster> BuiltIn { get; } =
    [
#if WITH_ORLEANS
        new(OrleansKey, OrleansOwnership.ImplementationName, (services, address) =>
            services.AddOrleansOwnership(SiloSettings.Read(Environment.GetEnvironmentVariable, address))),
#endif
        Leases,
    ];

    /// <summary>The one that is asked for, or the default.</summary>
    /// <param name="asked">Its key; null: <see cref="Variable"/> says, if set.</param>
    /// <exception cref="BenchException">It is not built in, or there is none of that name.</exception>
    public static Cluster Choose(string? asked)
    {
        var variable = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given ? given : null;
        if ((asked ?? variable) is not { } key)
            return BuiltIn[0];
        if (BuiltIn.FirstOrDefault(c => c.Key == key) is { } found)
            return found;
        var source = asked is null ? $"{Variable}={key}" : $"--cluster {key}";
        throw new BenchException(key == OrleansKey
            ? $"{source}: Orleans is not built in. Run `bench setup` where its packages restore, or build with -p:WithOrleans=true; without it, use leases."
            : $"{source}: there is no such cluster; built in: {string.Join(", ", BuiltIn.Select(c => c.Key))}");
    }
}
