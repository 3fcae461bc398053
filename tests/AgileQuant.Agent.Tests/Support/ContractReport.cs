using System.Collections.Concurrent;

namespace AgileQuant.Agent.Tests.Support;

/// <summary>Says at the end which implementations the contract tests ran against; <c>bench test</c> shows the line.</summary>
public sealed class ContractReport : IDisposable
{
#if WITH_SSHNET
    private const string NotBuilt = "";
#else
    private const string NotBuilt = "; not built: ssh.net (its package is not used here; -p:WithSshNet=true)";
#endif

    private static readonly ConcurrentDictionary<string, int> Tests = new();

    public static void Ran(string implementation) => Tests.AddOrUpdate(implementation, 1, (_, count) => count + 1);

    public void Dispose()
    {
        if (!Tests.IsEmpty)
            Console.WriteLine($"contract: remote shell: ran {string.Join(", ", Tests.OrderBy(t => t.Key).Select(t => $"{t.Key} ({t.Value} tests)"))}{NotBuilt}");
    }
}
