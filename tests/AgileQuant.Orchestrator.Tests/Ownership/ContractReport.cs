using System.Collections.Concurrent;

[assembly: AssemblyFixture(typeof(AgileQuant.Orchestrator.Tests.Ownership.ContractReport))]

namespace AgileQuant.Orchestrator.Tests.Ownership;

/// <summary>Says at the end which implementations the contract of ownership ran against; <c>bench test</c> shows the line.</summary>
public sealed class ContractReport : IDisposable
{
#if WITH_ORLEANS
    private const string NotBuilt = "";
#else
    private const string NotBuilt = "; not built: Orleans (its packages are not used here; -p:WithOrleans=true)";
#endif

    private static readonly ConcurrentDictionary<string, int> Tests = new();

    public static void Ran(string implementation) => Tests.AddOrUpdate(implementation, 1, (_, count) => count + 1);

    public void Dispose()
    {
        if (!Tests.IsEmpty)
            Console.WriteLine($"contract: ownership: ran {string.Join(", ", Tests.OrderBy(t => t.Key).Select(t => $"{t.Key} ({t.Value} tests)"))}{NotBuilt}");
    }
}
