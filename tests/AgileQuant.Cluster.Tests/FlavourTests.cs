using AgileQuant.Cluster.Tests.Support;
using AgileQuant.Host.Node;
using Shouldly;
using Xunit;

namespace AgileQuant.Cluster.Tests;

/// <summary>Says in the output which implementations the tests of this build ran with, and which it does not have.</summary>
public sealed class FlavourTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_ownership_and_transport_that_is_built_in_is_tested()
    {
        Report("ownership", [.. Clusters.BuiltIn.Select(c => c.Key)], ["leases", "orleans"]);
        Report("transport", [.. Transports.BuiltIn.Select(t => t.Key)], ["openssh", "sshnet"]);
        var tested = Flavour.BuiltIn.Select(row => row.Data).ToList();
        Clusters.BuiltIn.Select(c => c.Key).ShouldBeSubsetOf(tested.Select(f => f.Cluster));
        Transports.BuiltIn.Select(t => t.Key).ShouldBeSubsetOf(tested.Select(f => f.Transport));
    }

    /// <summary><c>bench test</c> shows these lines.</summary>
    private void Report(string what, IReadOnlyList<string> builtIn, IReadOnlyList<string> known)
    {
        var missing = known.Except(builtIn).ToList();
        var line = $"contract: nodes, {what}: ran {string.Join(", ", builtIn)}{(missing.Count == 0 ? "" : $"; not built: {string.Join(", ", missing)}")}";
        output.WriteLine(line);
        Console.WriteLine(line);
    }
}
