using AgileQuant.Host.Node;
using Xunit;

namespace AgileQuant.Cluster.Tests.Support;

/// <summary>Which ownership and which transport the nodes of a test use.</summary>
public sealed record Flavour(string Cluster, string Transport)
{
    public override string ToString() => $"{Cluster} and {Transport}";

    internal void AddTo(IDictionary<string, string?> environment)
    {
        environment["BENCH_CLUSTER"] = Cluster;
        environment["BENCH_TRANSPORT"] = Transport;
    }

    /// <summary>
    /// What this build has: Postgres leases with OpenSSH always, and the preferred ownership with the preferred transport when
    /// those are others.
    /// </summary>
    public static TheoryData<Flavour> BuiltIn { get; } =
        [.. new[] { new Flavour("leases", "openssh"), new Flavour(Clusters.BuiltIn[0].Key, Transports.BuiltIn[0].Key) }.Distinct()];
}
