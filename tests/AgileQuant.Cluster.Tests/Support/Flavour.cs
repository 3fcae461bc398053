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

    /// <summary>Everything that this build has; what it has not is named in the output of <c>FlavourTests</c>.</summary>
    public static TheoryData<Flavour> BuiltIn { get; } = [new Flavour("leases", "openssh")];
}
